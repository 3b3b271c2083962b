"""Who called: counted by connection, told apart by what they proved, forgotten when there are too many."""

from __future__ import annotations

from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.telemetry.callers import MOST, Callers

KNOWN = "spiffe://cluster.local/ns/shop/sa/web"


def rows(callers: Callers) -> list[tuple[object, ...]]:
    return [
        tuple(row[name] for name in ("port", "caller", "mtls", "address", "connections", "last"))
        for row in callers.told(1000.0, 1_700_000_000.0)
    ]


def test_connections_are_counted_by_port_and_by_what_the_caller_proved() -> None:
    callers = Callers()
    plain, proved = Peer("192.0.2.7", 1), Peer("192.0.2.8", 2, True, KNOWN)
    for port, peer, now in ((80, plain, 900.0), (80, proved, 910.0), (81, plain, 920.0), (80, plain, 930.0)):
        callers.met("inbound", port, peer, now)
    callers.met("inbound", 80, Peer("192.0.2.9", 3, True, KNOWN), 940.5)
    assert rows(callers) == [
        (81, "192.0.2.7", False, "192.0.2.7", 1, 1_700_000_000.0 - 80),
        (80, "192.0.2.7", False, "192.0.2.7", 2, 1_700_000_000.0 - 70),
        (80, KNOWN, True, "192.0.2.9", 2, 1_700_000_000.0 - 59.5),
    ]


def test_ordinary_tls_proves_nobody() -> None:
    callers = Callers()
    callers.met("inbound", 80, Peer("192.0.2.7", 1, True, ""), 900.0)
    assert rows(callers)[0][1:3] == ("192.0.2.7", False)


def test_behind_a_balancer_the_client_is_meant() -> None:
    callers, peer = Callers(), Peer("10.0.0.1", 1)
    peer.stands_for("203.0.113.9")
    callers.met("inbound", 80, peer, 900.0)
    assert rows(callers)[0][1] == "203.0.113.9"


def test_who_was_not_heard_of_for_longest_is_forgotten() -> None:
    callers = Callers()
    for number in range(MOST):
        callers.met("inbound", 80, Peer(f"10.0.{number >> 8}.{number & 255}", 1), 0.0)
    callers.met("inbound", 80, Peer("10.0.0.0", 1), 1.0)  # heard of again
    for number in range(3):
        callers.met("inbound", 80, Peer(f"10.9.0.{number}", 1), 2.0)
    here = {row[1] for row in rows(callers)}
    assert len(here) == MOST
    assert callers.forgotten == 3
    assert "10.0.0.0" in here
    assert not {"10.0.0.1", "10.0.0.2", "10.0.0.3"} & here
    assert repr(callers) == f"<Callers {MOST}, 3 forgotten>"


def test_when_a_stranger_came_last_is_known() -> None:
    callers = Callers()
    assert callers.stranger() == 0.0
    callers.met("inbound", 80, Peer("192.0.2.8", 2, True, KNOWN), 900.0)
    assert callers.stranger() == 0.0
    callers.met("inbound", 80, Peer("192.0.2.7", 1), 910.0)
    callers.met("inbound", 81, Peer("192.0.2.9", 1), 920.0)
    callers.met("inbound", 80, Peer("192.0.2.8", 2, True, KNOWN), 930.0)
    assert callers.stranger() == 920.0
    callers.met("inbound", 80, Peer("192.0.2.7", 1), 940.0)
    assert callers.stranger() == 940.0
