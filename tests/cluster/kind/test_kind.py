"""A whole life on kind, with stand-ins for kind, engine and kubectl that write down how they were called."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.cluster.bed import toolchain
from tests.cluster.bed.waiting import BedError
from tests.cluster.kind import kind

NODES = '{"kind": {"IPAddress": "172.18.0.3", "Gateway": "172.18.0.1"}}'
SAYS = {"kubectl": "echo sidewinder-worker sidewinder-control-plane", "docker": f"test $1 != inspect || echo '{NODES}'"}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which every call is a line."""
    programs, log = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    log.touch()
    for name in ("docker", "kind", "kubectl", "helm", "crane"):
        body = SAYS.get(name, "true")
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {log}\n{body}\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "tool", lambda name: programs / ("kubectl" if name == "kubernetes" else name))
    monkeypatch.setattr(kind, "program", lambda: programs / "kind")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(_made(tmp_path / "kind")))
    return log


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_from_start_to_stop(calls: Path, tmp_path: Path) -> None:
    said: list[str] = []
    cluster = kind.start(2, version="1.31", say=said.append)
    assert [node.name for node in cluster.nodes] == ["sidewinder-control-plane", "sidewinder-worker"]
    assert (cluster.host, cluster.nodes[1].address) == ("172.18.0.1", "172.18.0.3")
    assert "kindest/node:v1.31.12" in (cluster.directory / "kind.yaml").read_text()
    cluster.load(tmp_path / "apps.tar")
    cluster.trust_registry("172.18.0.1:5000")
    cluster.stop()
    verbs = [" ".join(line.split()[:3]) for line in calls.read_text().splitlines() if line.startswith("kind")]
    assert verbs == ["kind delete cluster", "kind create cluster", "kind load image-archive", "kind delete cluster"]
    trusted = [line for line in calls.read_text().splitlines() if "certs.d/172.18.0.1:5000/hosts.toml" in line]
    assert [line.split()[3] for line in trusted] == ["sidewinder-control-plane", "sidewinder-worker"]
    assert said[0].startswith("kind, 2 nodes of 1.31")


def test_a_cluster_that_does_not_start_is_removed(calls: Path, tmp_path: Path) -> None:
    program = tmp_path / "programs/kind"
    program.write_text(program.read_text().replace("true", "test $1 != create || { echo 'no space' >&2; exit 1; }"))
    with pytest.raises(BedError, match="no space"):
        kind.start(2, say=lambda line: None)
    assert calls.read_text().splitlines()[-1].startswith("kind delete cluster")


def test_impediments(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind.impediment() is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert str(kind.impediment()).startswith("no container engine: docker is not installed")
    with pytest.raises(BedError, match="no container engine"):
        kind.start(1)
