"""examples/zero-trust as it stands, with its own issuer: what its README says is so."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.local_mesh import EXAMPLES, running
from tests.support.moody_issuer import Issuer
from tests.support.zero_trust import EXAMPLES_ISSUER, Shop

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running("zero-trust", tmp_path_factory.mktemp("example"), "--access-log") as up:
        up.ready()
        mesh = Shop(up, Issuer())
        up.until(lambda: mesh.from_outside(authorization=f"Bearer {token()}").status == 200, "its keys are known", 60)
        yield mesh


def token(query: str = "sub=ada&groups=members&scope=reviews:read") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{EXAMPLES_ISSUER}/token?{query}", timeout=10) as answer:
        return str(json.load(answer)["access_token"])


def test_a_member_is_let_in_and_the_application_knows_who(mesh: Shop) -> None:
    said = mesh.from_outside(authorization=f"Bearer {token()}", x_user_id="root")
    assert json.loads(said.body)["headers"]["x-user-id"] == "ada"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 403),
        ({"authorization": "Bearer opaque-for-bob"}, 200),
        ({"authorization": "Bearer opaque-for-eve"}, 401),
        ({"x_api_key": "swk_partnershp_" + "a" * 52}, 401),
    ],
    ids=["nobody", "bob", "eve", "wrong key"],
)
def test_what_the_readme_says(mesh: Shop, fields: dict[str, str], status: int) -> None:
    assert mesh.from_outside(**fields).status == status


def test_other_tokens(mesh: Shop) -> None:
    assert mesh.from_outside(authorization=f"Bearer {token()}x").status == 401
    assert mesh.from_outside(authorization=f"Bearer {token('sub=eve&groups=guests&scope=reviews:read')}").status == 403


def test_the_key_in_the_example_says_who_calls(mesh: Shop) -> None:
    key = re.search(r"swk_\w+", (EXAMPLES / "zero-trust" / "secrets.yaml").read_text())
    assert key is not None
    assert mesh.from_outside(x_api_key=key[0]).status == 403, "known, and no rule lets partners in"


def test_the_page_reads_by_its_certificate_alone(mesh: Shop) -> None:
    assert mesh.as_page("/reviews/1").status == 200
    assert mesh.from_outside("/", "productpage.bookinfo.localhost").status == 403
    mesh.up.told('"policy":"bookinfo/zero-trust/pages-read"')
    mesh.up.told('"policy":"bookinfo/zero-trust/defaultAction"')
