"""Free ports: promised once, seen as taken by others, usable by their owners."""

from __future__ import annotations

import socket

import pytest

from sidewinder_operator.local import ports as module
from sidewinder_operator.local.ports import NoPort, Ports, why_taken


def bind(port: int, *, reuse: bool) -> socket.socket:
    made = socket.socket()
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made


def test_no_port_is_promised_twice_not_even_by_two_processes_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOWEST", 28000)
    monkeypatch.setattr(module, "HIGHEST", 28060)
    one, other = Ports(), Ports()
    try:
        promised = [owner.reserve() for _ in range(10) for owner in (one, other)]
        assert len(set(promised)) == len(promised)
    finally:
        one.close()
        other.close()


def test_an_owner_that_reuses_addresses_can_listen_while_it_is_held() -> None:
    ports = Ports()
    port = ports.reserve()
    with bind(port, reuse=True):
        pass
    with pytest.raises(OSError, match="in use"):
        bind(port, reuse=False)
    ports.close()


def test_a_lent_port_can_be_bound_by_anybody_and_stays_promised() -> None:
    ports = Ports()
    port = ports.reserve()
    ports.lend(port)
    with bind(port, reuse=False):
        pass
    assert repr(ports) == f"<Ports [{port}]>"
    ports.release(port)
    assert repr(ports) == "<Ports []>"


def test_none_free_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = Ports()
    port = ports.reserve()
    monkeypatch.setattr(module, "LOWEST", port)
    monkeypatch.setattr(module, "HIGHEST", port + 1)
    with pytest.raises(NoPort, match=f"between {port} and"):
        ports.reserve()
    ports.close()


def test_why_a_port_is_taken() -> None:
    with bind(0, reuse=False) as taken:
        port = taken.getsockname()[1]
        assert "in use" in (why_taken("127.0.0.1", port) or "")
    assert why_taken("127.0.0.1", port) is None
    assert why_taken("127.0.0.1", 0) is None
