"""Keys, passwords and a service of one's own, in a real `up`: made, used, exchanged and revoked while it runs."""

from __future__ import annotations

import base64
import http.client
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_mesh import EXAMPLES, SIDEWINDER, Up, running

pytestmark = pytest.mark.live

HOST = "quotes.shop.localhost"
DEMO = "swk_democallrs_thisisnosecretbecauseitstandsinanexampleforeveryone2"
WITHIN = 1.0  # seconds until a revocation holds


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("authentication")
    shutil.copytree(EXAMPLES / "authentication", folder / "authentication")
    port = str(free_port())
    for name in ("policy.yaml", "services.yaml"):
        file = folder / "authentication" / name
        file.write_text(file.read_text().replace("8401", port))
    with running("authentication", folder, "--access-log") as up:
        up.ready()
        up.until(lambda: up.get(HOST).status == 403, "the policy is in force")
        yield up


def status(up: Up, **fields: str) -> int:
    return up.get(HOST, fields={name.replace("_", "-"): value for name, value in fields.items()}).status


def sidewinder(up: Up, *words: str) -> str:
    done = subprocess.run(
        [SIDEWINDER, "apikey", *words, "-n", "shop", "-f", str(up.folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_an_application_shows_its_key(mesh: Up) -> None:
    answer = mesh.get(HOST, "/q?a=1", fields={"x-api-key": DEMO, "x-plan": "forged", "x_team": "forged"})
    assert answer.status == 200
    seen = answer.json()
    assert (seen["fields"]["x-plan"], seen["fields"]["x-team"]) == ("gold", "partners")
    assert "x-api-key" not in seen["fields"]
    assert "forged" not in str(seen)
    by_query = mesh.get(HOST, f"/q?key={DEMO}&a=1")
    assert by_query.status == 200
    assert by_query.json()["target"] == "/q?a=1"
    assert mesh.get(HOST, f"/q?key={DEMO}", fields={"x-api-key": DEMO}).status == 400


def test_a_person_shows_a_password(mesh: Up) -> None:
    def basic(pair: str) -> str:
        return "Basic " + base64.b64encode(pair.encode()).decode()

    good = mesh.get(HOST, fields={"authorization": basic("ada:correct horse battery staple")})
    assert (good.status, good.json()["fields"]["x-user"]) == (200, "ada")
    assert "authorization" not in good.json()["fields"]
    began = time.monotonic()
    for _ in range(20):
        assert status(mesh, authorization=basic("ada:correct horse battery staple")) == 200
    assert time.monotonic() - began < 2.0  # one check more would not fit twenty times
    assert status(mesh, authorization=basic("ada:wrong")) == 403  # the service is asked, and has the last word


def test_a_service_of_ones_own_decides(mesh: Up) -> None:
    good = mesh.get(HOST, fields={"x-ticket": "grace", "x-user": "forged"})
    assert (good.status, good.json()["fields"]["x-user"]) == (200, "grace")
    refused = mesh.get(HOST, fields={"x-ticket": "NO"})
    assert (refused.status, refused.body) == (403, b"no ticket, no quotes\n")
    assert "proxy-status" in refused.fields


def test_a_key_is_made_exchanged_and_revoked_while_it_runs(mesh: Up) -> None:
    key = sidewinder(mesh, "create", "quotes-keys", "--plan", "silver")
    assert re.fullmatch("swk_[a-z2-7]{10}_[a-z2-7]{52}", key)
    assert mesh.until(lambda: status(mesh, x_api_key=key) == 200, "the new key holds", WITHIN) < WITHIN
    other = sidewinder(mesh, "rotate", "quotes-keys", key[:14], "--grace", "0s")
    mesh.until(lambda: status(mesh, x_api_key=other) == 200, "the other key holds", WITHIN)
    mesh.until(lambda: status(mesh, x_api_key=key) != 200, "the old key is over", WITHIN)
    sidewinder(mesh, "revoke", "quotes-keys", other[:14])
    took = mesh.until(lambda: status(mesh, x_api_key=other) != 200, "the key is revoked", WITHIN)
    assert took < WITHIN
    assert status(mesh, x_api_key=DEMO) == 200
    assert "ada" in (mesh.folder / "secrets.yaml").read_text()


def test_a_secret_that_goes_closes_the_service_until_it_is_back(mesh: Up, tmp_path: Path) -> None:
    file = mesh.folder / "secrets.yaml"
    kept = file.read_text()
    try:
        shutil.move(file, tmp_path / "secrets.yaml")
        mesh.until(lambda: status(mesh, x_api_key=DEMO) == 403, "the service is closed", 5.0)
        assert status(mesh, x_ticket="grace") == 403
    finally:
        file.write_text(kept)
    mesh.until(lambda: status(mesh, x_api_key=DEMO) == 200, "the service is open again", 5.0)


def test_nothing_of_a_secret_was_said(mesh: Up) -> None:
    said = "\n".join(mesh.lines)
    for secret in (DEMO, DEMO[-20:], "correct horse", base64.b64encode(b"ada:correct").decode()[:12], "swk_"):
        assert secret not in said


def test_a_large_upload_waits_for_the_verdict(mesh: Up) -> None:
    body = b"x" * 2_000_000
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", mesh.port, timeout=10)
        connection.request("POST", "/", body, {"Host": HOST, "X-Ticket": "grace"})
        answer = connection.getresponse()
        assert answer.read()
        connection.close()
        assert answer.status != 413
