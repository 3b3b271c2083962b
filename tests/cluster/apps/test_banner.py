"""The server that speaks first."""

from __future__ import annotations

import socket

from tests.cluster.apps import banner
from tests.cluster.support.background import serving


def test_it_speaks_first_and_repeats() -> None:
    with serving(banner.converse) as port, socket.create_connection(("127.0.0.1", port), 5) as talk:
        lines = talk.makefile("rwb", 0)
        assert lines.readline() == f"220 {banner.NAME} ready\r\n".encode()
        lines.write(b"hello\r\nQUIT\r\n")
        assert lines.read() == b"250 hello\r\n221 bye\r\n"
