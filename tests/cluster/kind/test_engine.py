"""Finding a container engine, with programs that stand in for engines, and what one is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cluster.kind import engine
from tests.cluster.kind.engine import Engine

RUNS, STOPPED = "#!/bin/sh\nexit 0\n", "#!/bin/sh\necho starting >&2\necho 'no daemon' >&2\nexit 1\n"


@pytest.mark.parametrize(
    ("programs", "found", "reason"),
    [
        ({"docker": RUNS, "podman": RUNS}, "docker", ""),
        ({"docker": STOPPED, "podman": RUNS}, "podman", ""),
        ({"docker": STOPPED}, None, "docker does not run (no daemon); podman is not installed"),
        ({}, None, "docker is not installed; podman is not installed"),
    ],
    ids=["both", "one", "stopped", "none"],
)
def test_the_first_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: dict[str, str], found: str | None, reason: str
) -> None:
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    # The stand-ins need sh alone, by its full path; the machine's own engines must not be found.
    monkeypatch.setattr(os, "environ", os.environ | {"PATH": str(tmp_path)})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine.find() == (Engine(found) if found else None, reason)


def test_an_engine_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nread forever < /dev/zero\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "LIMIT", 0.2)
    assert engine.find()[1].startswith("docker does not answer")


@pytest.mark.parametrize("network", ["kind", "custom"])
def test_addresses(network: str) -> None:
    answer = {network: {"IPAddress": "172.18.0.3", "Gateway": "172.18.0.1"}}
    assert engine.addresses(json.dumps(answer)) == ("172.18.0.3", "172.18.0.1")


def test_commands() -> None:
    chosen = Engine("podman")
    assert chosen.execute("n1", "ls") == ["podman", "exec", "--interactive", "n1", "ls"]
    assert chosen.inspect("n1")[:2] == ["podman", "inspect"]
    build = chosen.build("r/a:1", Path("/x/Dockerfile"), {"A": "1"}, ["--secret", "id=s,src=/s"])
    assert build == [
        "podman",
        "build",
        "--secret",
        "id=s,src=/s",
        "--build-arg",
        "A=1",
        "--file",
        "/x/Dockerfile",
        "--tag",
        "r/a:1",
        ".",
    ]
    assert chosen.save("r/a:1", Path("/a.tar")) == ["podman", "save", "--output", "/a.tar", "r/a:1"]
    assert chosen.environment() == {"KIND_EXPERIMENTAL_PROVIDER": "podman"}
