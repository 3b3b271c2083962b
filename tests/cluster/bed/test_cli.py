"""The command line: what it refuses, it explains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.bed.layout import Layout


def command(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, str(Path(__file__).parent), "--directory", str(directory), *words]
    return subprocess.run(whole, cwd="/", capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def darkness(tmp_path: Path) -> Path:
    """The folder of a bed none of whose nodes runs."""
    layout = Layout(tmp_path, 0, 2)
    for number in layout.numbers:
        layout.node(number).mkdir(parents=True)
    (tmp_path / "pki").mkdir()
    layout.save()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cut", "node1/kubelet"], "node1/kubelet: one can stop, start, kill, pause, resume it, not cut"),
        (["pause", "node2"], "node2: one can kill, boot, cut, heal it, not pause"),
        (["kill", "node2/etcd"], "etcd: not on node2, which has containerd, kubelet, kube-proxy"),
        (["kill", "scheduler"], "scheduler: not on node1, which has etcd, kube-apiserver"),
        (["pause", "kubelet"], "kubelet does not run on node1"),
        (["kill", "node7"], "node7: the bed has node1, node2"),
        (["run", "node1", "true"], "node1 of bed0 is down"),
    ],
)
def test_what_is_refused_is_explained(darkness: Path, words: list[str], told: str) -> None:
    done = command(darkness, *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_bed_is_named(tmp_path: Path) -> None:
    assert command(tmp_path, "status").stderr == f"{tmp_path}: there is no bed\n"


def test_down_without_a_bed_is_no_error(tmp_path: Path) -> None:
    assert command(tmp_path / "none", "down").returncode == 0
