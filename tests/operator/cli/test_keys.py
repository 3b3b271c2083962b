"""`sidewinder apikey`: what each command prints, where, and how it says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidewinder_operator.cli.main import main
from sidewinder_sidecar.snapshot.hashed import KEY, password


def run(*words: str, given: str = "") -> Result:
    return CliRunner().invoke(main, ["apikey", *words], input=given)


@pytest.fixture
def where(tmp_path: Path) -> list[str]:
    return ["keys", "-n", "shop", "-f", str(tmp_path)]


def test_the_life_of_a_key(where: list[str], tmp_path: Path) -> None:
    made = run("create", *where, "--plan", "gold", "--metadata", "team=web", "--expires", "90d", "--note", "Zoë")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()  # alone, so that a script can take it
    assert KEY.fullmatch(key.encode())
    assert key not in made.stderr
    assert key not in (tmp_path / "shop-keys.yaml").read_text()
    name = key.split("_")[1]
    shown = run("list", *where)
    assert f"swk_{name}  gold" in shown.stdout
    assert "team=web" in shown.stdout
    assert key not in shown.output

    another = run("rotate", *where[:1], f"swk_{name[:6]}", *where[1:], "--grace", "1h")
    assert another.exit_code == 0, another.output
    assert f"swk_{name} holds for 1h still" in another.stderr
    listed = json.loads(run("list", *where, "--output", "json").stdout)
    assert [each["plan"] for each in listed] == ["gold", "gold"]

    gone = run("revoke", *where[:1], name, *where[1:])
    assert gone.exit_code == 0, gone.output
    assert name not in run("list", *where).stdout
    assert another.stdout.split("_")[1] in run("list", *where, "--prefix", "swk_" + another.stdout.split("_")[1]).stdout


def test_what_is_wrong_is_told_in_a_line(where: list[str]) -> None:
    for words, why in (
        (("revoke", where[0], "nobody", *where[1:]), "no key begins with swk_nobody"),
        (("create", *where, "--expires", "soon"), "'soon' is no time"),
        (("rotate", where[0], "x", *where[1:], "--grace", "long"), "'long' is no duration"),
        (("create", *where, "--metadata", "team"), "NAME=VALUE"),
    ):
        result = run(*words)
        assert result.exit_code != 0
        assert why in result.output
        assert "Traceback" not in result.output


def test_what_is_broken_is_listed(where: list[str], tmp_path: Path) -> None:
    head = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: shop}\n"
    (tmp_path / "keys.yaml").write_text(head + "stringData:\n  README: x\n  aaaaaaaaaa: x\n")
    shown = run("list", *where).stdout
    assert "is not named by the id of a key" in shown
    assert "swk_aaaaaaaaaa" in shown
    assert {each["id"] for each in json.loads(run("list", *where, "--output", "json").stdout)} == {
        "README",
        "aaaaaaaaaa",
    }


def test_a_password_from_the_standard_input() -> None:
    result = run("password", "alice", given="hush\n")
    assert result.exit_code == 0
    name, _, kept = result.stdout.strip().partition(":")
    assert name == "alice"
    assert password(kept).fits(b"hush")
    assert "hush" not in result.output
    assert run("password", "a:b", given="x\n").exit_code == 1
