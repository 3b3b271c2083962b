"""Servers in this process."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.cluster.apps import banner
from tests.cluster.support.background import serving


def test_a_server_ends_with_its_block_whoever_still_talks() -> None:
    before = threading.active_count()
    with serving(banner.converse) as port:
        talk = socket.create_connection(("127.0.0.1", port), 5)
        lines = talk.makefile("rb")
        assert lines.readline().startswith(b"220 ")
    assert lines.read() == b""
    lines.close()
    talk.close()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
