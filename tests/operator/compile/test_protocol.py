"""What appProtocol says, and what it leaves to the first bytes."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.protocol import protocol


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("http", "HTTP"),
        ("HTTP", "HTTP"),
        ("kubernetes.io/ws", "HTTP"),
        ("tcp", "TCP"),
        ("https", "TCP"),
        ("tls", "TCP"),
        ("kubernetes.io/wss", "TCP"),
        ("kubernetes.io/h2c", "TCP"),
        ("grpc", "TCP"),
        ("http2", "TCP"),
        ("redis", "TCP"),
        ("mysql", "TCP"),
        ("mongo", "TCP"),
        ("postgresql", "TCP"),
        ("", ""),
        ("example.com/own", ""),
    ],
)
def test_what_is_spoken(written: str, spoken: str) -> None:
    assert protocol(written) == spoken
