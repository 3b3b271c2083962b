"""Secrets of every kind, planted in a running mesh and used well and badly: none of them is told anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sidewinder_sidecar.snapshot.hashed import key_hash
from tests.support.local_mesh import SIDEWINDER, relatives
from tests.support.moody_issuer import Issuer, issuer
from tests.support.otlp import Receiver, receiver
from tests.support.zero_trust import Said, Shop, get, shop, talk

pytestmark = pytest.mark.live

MARKED = "TEST_MARK"  # in the environment of `up` and of all that it starts
PROXIES = ("productpage", "reviews", "ratings", "guarded", "asked")
PAGES = {"probe": ("/metrics", "/readyz"), "admin": ("/config", "/callers", "/identity")}


class Planted(NamedTuple):
    """Who knows any of these is let in somewhere, or can try at leisure."""

    api_key: str
    key_hash: str
    client_secret: str
    password: str
    password_hash: str
    opaque: str
    cookie: str


def phc(password: str) -> str:
    """As `sidewinder apikey password` makes it, with less work."""
    salt = secrets.token_bytes(16)
    made = hashlib.scrypt(password.encode(), salt=salt, n=1 << 10, r=8, p=1, dklen=32)
    words = (base64.b64encode(each).decode().rstrip("=") for each in (salt, made))
    return "$scrypt$ln=10,r=8,p=1$" + "$".join(words)


def plant() -> Planted:
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    key = "swk_plantedkey_" + "".join(secrets.choice(letters) for _ in range(52))
    password = "planted-password-" + secrets.token_hex(8)
    return Planted(
        api_key=key,
        key_hash=key_hash(key.encode()),
        client_secret="planted-client-" + secrets.token_hex(8),
        password=password,
        password_hash=phc(password),
        opaque="planted-opaque-" + secrets.token_hex(8),
        cookie="planted-cookie-" + secrets.token_hex(8),
    )


GUARDED = """
apiVersion: v1
kind: Namespace
metadata: {name: vault}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: vault}
stringData:
  plantedkey: '{"hash": "%(key_hash)s", "plan": "gold", "metadata": {"team": "a"}}'
---
apiVersion: v1
kind: Secret
metadata: {name: people, namespace: vault}
stringData:
  users: "ada:%(password_hash)s"
---
apiVersion: v1
kind: Secret
metadata: {name: client, namespace: vault}
stringData: {client-id: vault, client-secret: %(client_secret)s}
---
apiVersion: v1
kind: Service
metadata: {name: guarded, namespace: vault}
spec: {selector: {app: guarded}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: guarded, namespace: vault, labels: {app: guarded}}
spec: {command: [python3, apps/bookinfo.py, guarded]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: guarded, namespace: vault}
spec:
  targetRefs: [{kind: Service, name: guarded}]
  redact: {queryParams: [email]}
  authentication:
    providers:
    - name: idp
      type: JWT
      jwt:
        issuer: https://idp.example
        audiences: [bookinfo]
        jwks: {type: Remote, remote: {uri: "http://127.0.0.1:%(port)d/jwks.json"}}
        sources:
        - {type: Header, name: authorization, prefix: "Bearer "}
        - {type: Query, name: access_token}
        - {type: Cookie, name: session}
    - {name: keys, type: APIKey, apiKey: {secretRef: {name: keys}}}
    - {name: people, type: Basic, basic: {secretRef: {name: people}}}
    - name: asking
      type: OAuth2Introspection
      oauth2Introspection: {uri: "http://127.0.0.1:%(port)d/introspect", clientSecretRef: {name: client}}
---
apiVersion: v1
kind: Service
metadata: {name: asked, namespace: vault}
spec: {selector: {app: asked}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: asked, namespace: vault, labels: {app: asked}}
spec: {command: [python3, apps/bookinfo.py, asked]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: asked, namespace: vault}
spec:
  targetRefs: [{kind: Service, name: asked}]
  authentication:
    providers:
    - {name: own, type: External, external: {uri: "http://127.0.0.1:%(port)d/jwks.json"}}
"""


@pytest.fixture(scope="module")
def idp() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture(scope="module")
def taken() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def mesh(idp: Issuer, taken: Receiver, planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("secrets")
    idp.client, idp.opaque = ("vault", planted.client_secret), {planted.opaque: {"sub": "bob"}}
    more = GUARDED % {**planted._asdict(), "port": idp.port}
    environment = {MARKED: str(folder)}
    with shop(folder, idp, f"--otlp={taken.endpoint}", more=more, environment=environment) as running:
        fields = {"authorization": f"Bearer {idp.token()}"}
        running.up.until(lambda: ask(running, **fields).status == 200, "keys are known")
        yield running


def ask(mesh: Shop, target: str = "/", service: str = "guarded", **fields: str) -> Said:
    return mesh.from_outside(target, f"{service}.vault.localhost", **fields)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def told(mesh: Shop, idp: Issuer, planted: Planted) -> list[str]:
    """All that was sent, as somebody might find it again; sent well, and then badly."""
    token, expired = idp.token(), idp.token(exp=1)
    login = basic("ada", planted.password)
    good = [
        ask(mesh, authorization=f"Bearer {token}"),
        ask(mesh, f"/?access_token={token}&email=ada@example"),
        ask(mesh, cookie=f"session={token}"),
        ask(mesh, x_api_key=planted.api_key),
        ask(mesh, authorization=login),
        ask(mesh, authorization=f"Bearer {planted.opaque}"),
        ask(mesh, service="asked", cookie=planted.cookie, authorization=f"Bearer {planted.opaque}"),
    ]
    assert [said.status for said in good] == [200] * len(good), good
    bad = [
        ask(mesh, authorization=f"Bearer {expired}"),
        ask(mesh, authorization=f"Bearer {token}x"),
        ask(mesh, f"/?access_token={token}&access_token={token}"),
        ask(mesh, x_api_key=planted.api_key + "x"),
        ask(mesh, authorization=basic("ada", planted.password + "x")),
        ask(mesh, authorization=f"Bearer {planted.opaque}x"),
        ask(mesh, "/", x_api_key=planted.api_key, authorization="Bearer x"),
        talk(mesh.up.port, get("/", "guarded.vault.localhost", authorization=f"Bearer {token}\x01")),
        talk(mesh.port("reviews"), get("/", "reviews", authorization=f"Bearer {token}", x_api_key=planted.api_key)),
    ]
    assert [said.status for said in bad if said.status < 400] == [], bad
    encoded = login.partition(" ")[2]
    words = [token, expired, token.rpartition(".")[2], encoded, *planted]
    # A process that is ended as a bug in C would end it: what it says last is in the output, too.
    mesh.up.until(lambda: sum('"detail"' in line for line in mesh.up.lines) >= len(bad) - 1, "the refusals are told")
    before = mesh.up.proxy("guarded")["processes"]["sidecar"]
    os.kill(before, signal.SIGABRT)
    mesh.up.told("was killed by SIGABRT")
    mesh.up.until(lambda: mesh.up.proxy("guarded")["processes"]["sidecar"] not in (0, before), "it is back")
    mesh.up.until(lambda: ask(mesh, x_api_key=planted.api_key).status == 200, "it lets in again")
    return words


def found(words: list[str], text: str) -> list[str]:
    return [word for word in [*words, "PRIVATE KEY"] if word in text]


def test_no_log_has_one(mesh: Shop, told: list[str]) -> None:
    text = "\n".join(mesh.up.lines)
    assert '"detail"' in text, "the refusals are there"
    assert found(told, text) == []
    assert "ada@example" not in text


def test_no_span_has_one(mesh: Shop, taken: Receiver, told: list[str]) -> None:
    text = json.dumps(taken.wait(10), default=str)
    assert found(told, text) == []
    assert found(told, json.dumps(taken.requests)) == []


@pytest.mark.parametrize("name", PROXIES)
def test_no_page_has_one(mesh: Shop, told: list[str], name: str) -> None:
    for door, paths in PAGES.items():
        for path in paths:
            answer = mesh.up.get("localhost", path, port=mesh.port(name, door))
            assert answer.status == 200, path
            assert found(told, answer.body.decode()) == [], path


def test_only_who_enforces_a_policy_has_what_it_needs(mesh: Shop, told: list[str]) -> None:
    """That there are credentials is shown, not what they are; and nobody else has any."""
    having = {
        name for name in PROXIES
        if "credentials/vault/" in mesh.up.get("localhost", "/config", port=mesh.port(name, "admin")).body.decode()
    }  # fmt: skip
    assert having == {"guarded"}


@pytest.mark.parametrize(
    "words",
    [("status",), ("status", "--output=json"), ("tls", "guarded", "--namespace=vault")],
    ids=lambda words: "-".join(words[:2]),
)
def test_no_command_prints_one(mesh: Shop, told: list[str], words: tuple[str, ...]) -> None:
    command = [str(SIDEWINDER), *words, f"--state={mesh.up.state}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout
    assert found(told, done.stdout + done.stderr) == []


def test_validation_prints_none(mesh: Shop, told: list[str], planted: Planted, tmp_path: Path) -> None:
    broken = GUARDED % {**planted._asdict(), "port": 1}
    broken = broken.replace('"plan"', '"plam"').replace("client-id: vault, ", "").replace("ada:$", "ada:$$")
    (tmp_path / "broken.yaml").write_text(broken)
    done = subprocess.run(
        [str(SIDEWINDER), "validate", "-f", str(tmp_path)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1, "a client without an id is told"
    assert found(told, done.stdout + done.stderr) == []


def test_files_that_have_one_are_their_owners_alone(mesh: Shop, told: list[str]) -> None:
    sockets = Path(mesh.environment("guarded")["SIDEWINDER_DISCOVERY"].removeprefix("unix:")).parent
    seen = 0
    for folder in (mesh.up.state, sockets, mesh.identity("guarded")):
        for file in (path for path in folder.rglob("*") if path.is_file()):
            if found(told, file.read_text(errors="replace")):
                seen += 1
                assert file.stat().st_mode & 0o077 == 0, file
    assert seen > 0, "a proxy keeps its key"


def test_no_process_shows_one(mesh: Shop, told: list[str]) -> None:
    marker = mesh.environment("guarded")[MARKED]
    assert len(relatives(Path(marker))) >= 11
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (place / "environ").read_bytes(), (place / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in environment:
            assert found(told, (environment + command).decode(errors="replace")) == [], command
