"""kubectl's answers: what is there, what is not, what is refused, what it cannot reach. A script stands in for it."""

from __future__ import annotations

import pytest

from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable


@pytest.fixture
def program(tmp_path):
    """A program that does this line of shell."""

    def make(line):
        path = tmp_path / "kubectl"
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return Kubectl(program=str(path))

    return make


def test_what_is_there_is_read(program):
    assert program('echo "{\\"words\\": \\"$*\\"}"').get("/version")["words"].endswith("get --raw /version")


def test_a_context_is_handed_on(tmp_path, program):
    program('echo "{\\"words\\": \\"$*\\"}"')
    assert "--context=east" in Kubectl("east", str(tmp_path / "kubectl")).get("/x")["words"]


def test_what_is_not_there_is_none_and_a_refusal_is_one(program):
    gone = program("echo 'Error from server (NotFound): the server could not find it' >&2; exit 1")
    assert gone.find("/x") is None
    forbidden = program("echo 'Error from server (Forbidden): pods is forbidden' >&2; exit 1")
    with pytest.raises(Refused, match="pods is forbidden") as refused:
        forbidden.find("/x")
    assert refused.value.status == 403


def test_a_cluster_that_is_away_is_told(program):
    with pytest.raises(Unreachable, match="connection refused"):
        program("echo 'The connection to the server was refused: connection refused' >&2; exit 1").get("/x")
    with pytest.raises(Unreachable, match="is not on the PATH"):
        Kubectl(program="no-such-kubectl").get("/x")


def test_lists_come_in_pages(program):
    more = '{"items": [1], "metadata": {"continue": "t"}}'
    last = '{"items": [2], "metadata": {}}'
    found = program(f"case $* in *continue=t*) echo '{last}';; *) echo '{more}';; esac")
    assert list(found.items("/pods")) == [1, 2]


def test_bodies_go_in_and_rights_come_out(program):
    assert program("cat").post("/x", {"a": 1}) == {"a": 1}
    assert program("""echo '{"status": {"allowed": true}}'""").may("get", "", "pods")
