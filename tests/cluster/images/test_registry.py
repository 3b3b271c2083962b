"""The registry's command line and its first words; a real one serves tests/cluster/test_helm.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.images import registry


def test_the_command_takes_a_free_port() -> None:
    command = registry.command(Path("/bin/crane"), "198.18.255.1", Path("/blobs"))
    assert command == ["/bin/crane", "registry", "serve", "--address=198.18.255.1:0", "--disk=/blobs"]


@pytest.mark.parametrize(
    ("log", "port"),
    [("", 0), ("storing blobs in /x\n", 0), ("2026/11/21 serving on port ", 0), ("x\n serving on port 34847\n", 34847)],
)
def test_the_port_is_read_from_the_log(log: str, port: int) -> None:
    assert registry.announced(log) == port
