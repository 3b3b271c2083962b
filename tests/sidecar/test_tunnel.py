"""When a tunnel has ended and when it is idle."""

from __future__ import annotations

from sidewinder_sidecar.tunnel import Tunnel


def test_it_has_ended_when_both_sides_have():
    tunnel = Tunnel(60.0)
    tunnel.caller_ended = True
    assert not tunnel.has_ended()
    tunnel.upstream_ended = True
    assert tunnel.has_ended()


def test_it_is_idle_when_nothing_moved_between_two_looks():
    tunnel = Tunnel(60.0)
    assert [tunnel.is_idle(moved) for moved in (0, 5, 5, 6)] == [False, False, True, False]
    tunnel.caller_ended = True
    assert repr(tunnel) == "<Tunnel 6 bytes caller ended>"
