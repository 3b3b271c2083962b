"""Who shows no certificate of the mesh: refused, or let pass and told of once a minute; and the ports left out."""

from __future__ import annotations

import logging

import pytest

from sidewinder_sidecar.filters import mtls
from sidewinder_sidecar.filters.context import Context
from sidewinder_sidecar.filters.mtls import Mtls
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Peer, Reply
from sidewinder_sidecar.snapshot.policies import MtlsMode, MtlsSpec
from sidewinder_sidecar.wheel import Wheel
from tests.support.calls import call

KNOWN = "spiffe://cluster.local/ns/shop/sa/web"
POLICY = "shop/zero-trust"


class World:
    """One section for one port, and what it counted."""

    def __init__(self, mode: MtlsMode, port: int = 8080, *except_ports: int) -> None:
        self.means = Means()
        self.now = 1000.0
        context = Context(self.means, Wheel(lambda: self.now, lambda seconds, call: None), {}, {}, {})
        spec = MtlsSpec(mode=mode, except_ports=except_ports, policy=POLICY)
        self.filter = mtls.build(spec, port, context)

    @property
    def made(self) -> Mtls:
        assert self.filter is not None
        return self.filter

    @property
    def counted(self) -> dict[tuple[str, str, str], int]:
        return self.means.decisions


def stranger(port: int = 0) -> Peer:
    """Without a certificate; redirected, if a port is given."""
    peer = Peer("192.0.2.7", 40000)
    peer.destination = ("10.0.0.1", port) if port else None
    return peer


def known() -> Peer:
    return Peer("192.0.2.8", 40000, True, KNOWN)


@pytest.mark.parametrize(
    ("mode", "port", "except_ports"),
    [
        pytest.param("Permissive", 8080, (), id="permissive"),
        pytest.param("Strict", 9090, (9090,), id="left-out"),
        pytest.param("Audit", 9090, (8080, 9090), id="left-out-of-audit"),
        pytest.param("Permissive", 0, (), id="permissive-for-the-rest"),
    ],
)
def test_where_anybody_may_come_nothing_runs(mode: MtlsMode, port: int, except_ports: tuple[int, ...]) -> None:
    assert World(mode, port, *except_ports).filter is None


def test_strict_refuses_who_shows_no_certificate() -> None:
    world = World("Strict")
    asked = call(peer=stranger(), decision="")
    reply = world.made.apply(asked)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.error, reply.detail) == (403, "denied", "mTLS is required")
    assert reply.decision == asked.decision == "shop/zero-trust/mtls"
    assert world.counted == {("mtls", "Deny", POLICY): 1}
    assert POLICY not in reply.detail
    assert reply.fields == ()


def test_tls_without_a_certificate_of_the_mesh_is_not_enough() -> None:
    assert World("Strict").made.apply(call(peer=Peer("192.0.2.7", 1, True, ""), decision="")) is not None


@pytest.mark.parametrize("mode", ["Strict", "Audit"])
def test_who_shows_one_passes_and_nothing_is_told(mode: MtlsMode, caplog: pytest.LogCaptureFixture) -> None:
    world, asked = World(mode), call(peer=known(), decision="")
    assert world.made.apply(asked) is None
    assert world.made.admit(known(), 8080) is None
    assert (asked.decision, world.counted, caplog.records) == ("", {}, [])


@pytest.mark.parametrize(("port", "passes"), [(9090, True), (8080, False)])
def test_of_undeclared_ports_those_left_out_pass(port: int, passes: bool) -> None:
    world = World("Strict", 0, 9090)
    assert (world.made.apply(call(peer=stranger(port), decision="")) is None) == passes
    assert (world.made.admit(stranger(port), port) is None) == passes


def test_a_relayed_connection_is_judged_alike() -> None:
    world = World("Strict")
    reply = world.made.admit(stranger(), 8080)
    assert reply is not None
    assert (reply.status, reply.error, reply.decision) == (403, "denied", "shop/zero-trust/mtls")
    assert world.counted == {("mtls", "Deny", POLICY): 1}


def test_audit_lets_pass_counts_each_and_tells_of_each_caller_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "sidewinder.mtls")
    world = World("Audit")
    for _ in range(3):
        asked = call(peer=stranger(), decision="")
        assert world.made.apply(asked) is None
        assert asked.decision == "audit:shop/zero-trust/mtls"
    assert world.made.admit(Peer("192.0.2.9", 1), 8080) is None
    assert world.counted == {("mtls", "Audit", POLICY): 4}
    assert caplog.messages == [
        f"{caller} called port 8080 without mTLS: Strict would refuse it (shop/zero-trust)"
        for caller in ("192.0.2.7", "192.0.2.9")
    ]


def test_of_a_relayed_connection_audit_is_told_in_the_log() -> None:
    peer = stranger()
    assert World("Audit").made.admit(peer, 8080) is None
    assert peer.decision == "audit:shop/zero-trust/mtls"
    passed = known()
    World("Audit").made.admit(passed, 8080)
    assert passed.decision == ""


def test_audit_keeps_what_another_section_has_decided() -> None:
    asked = call(peer=stranger(), decision="shop/other/rule")
    World("Audit").made.apply(asked)
    assert asked.decision == "shop/other/rule"


def test_after_a_minute_a_caller_is_told_of_again(caplog: pytest.LogCaptureFixture) -> None:
    world = World("Audit")
    for world.now in (1000.0, 1059.9, 1060.0, 1061.0):
        world.made.admit(stranger(), 8080)
    assert len(caplog.messages) == 2


def test_a_scan_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    world = World("Audit")
    for number in range(mtls.TOLD * 3):
        world.made.admit(Peer(f"10.1.{number >> 8}.{number & 255}", 1), 8080)
    assert len(caplog.messages) == mtls.TOLD
    assert world.counted == {("mtls", "Audit", POLICY): mtls.TOLD * 3}


def test_it_says_what_it_is() -> None:
    assert repr(World("Strict").made) == "<Mtls Strict :8080>"
    assert repr(World("Audit", 0).made) == "<Mtls Audit :0>"
