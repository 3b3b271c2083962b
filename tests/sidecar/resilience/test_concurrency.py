"""Limits: counted exactly, told apart in what is refused, and what rests makes room for what is needed."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.resilience.concurrency import Concurrency
from sidewinder_sidecar.snapshot.upstreams import ConcurrencySpec, LimitsSpec


class Member:
    """An endpoint's counts."""

    def __init__(self, active=0, dials=0, idle=0, unclaimed=0, free=None):
        self.active = active
        self.dials = [None] * dials
        self.idle = [None] * idle
        self.unclaimed = unclaimed
        self.free = free

    def free_dial(self):
        return self.free

    def spare(self):
        return bool(self.idle and (self.idle.pop(), True))


def limits(whole=None, endpoint=None):
    spec = ConcurrencySpec(whole=LimitsSpec(**(whole or {})), endpoint=LimitsSpec(**(endpoint or {})))
    return Concurrency(spec, "shop/v1")


def test_requests_come_and_go():
    one = limits({"requests": 2})
    assert [one.admit(), one.admit()] == [None, None]
    full = one.admit()
    assert one.refuse(full) == full.why == "2 requests to shop/v1 run already"
    one.leave()
    assert one.admit() is None
    assert (one.requests, one.refused) == (2, {"requests": 1, "pending": 0, "connections": 0})
    assert repr(one) == "<Concurrency of shop/v1: 2 requests, 1 refused>"


@pytest.mark.parametrize(
    ("whole", "endpoint", "member", "others", "why"),
    [
        pytest.param({}, {}, Member(active=9, dials=9), [], "", id="no limit"),
        pytest.param({}, {"requests": 3}, Member(active=2), [], "", id="room for a request"),
        pytest.param(
            {}, {"requests": 3}, Member(active=3, idle=1), [], "3 requests to the endpoint run already", id="none"
        ),
        pytest.param({}, {"pending": 1, "connections": 1}, Member(active=1, dials=1, idle=1), [], "", id="kept one"),
        pytest.param(
            {},
            {"pending": 1},
            Member(active=1, dials=1),
            [],
            "1 connections to the endpoint are being made already",
            id="pending",
        ),
        pytest.param(
            {}, {"connections": 2}, Member(active=2), [], "2 connections to the endpoint are open already", id="open"
        ),
        pytest.param({}, {"pending": 1, "connections": 1}, Member(dials=1, unclaimed=1, free=1), [], "", id="free one"),
        pytest.param(
            {},
            {"connections": 2},
            Member(active=1, dials=1, unclaimed=1),
            [],
            "2 connections to the endpoint are open already",
            id="one is made for nobody",
        ),
        pytest.param(
            {"connections": 2},
            {},
            Member(active=1),
            [Member(dials=1, unclaimed=1)],
            "2 connections to shop/v1 are open already",
            id="one is made for nobody, in all",
        ),
        pytest.param(
            {"pending": 2},
            {},
            Member(dials=1),
            [Member(dials=1)],
            "2 connections to shop/v1 are being made already",
            id="pending in all",
        ),
        pytest.param(
            {"connections": 3},
            {},
            Member(active=1),
            [Member(active=2)],
            "3 connections to shop/v1 are open already",
            id="open in all",
        ),
        pytest.param(
            {"connections": 3}, {}, Member(active=1), [Member(active=1, idle=1)], "", id="one rests elsewhere"
        ),
    ],
)
def test_why_an_endpoint_cannot_be_called(whole, endpoint, member, others, why):
    one = limits(whole, endpoint)
    full = one.full(member, [member, *others])
    assert (full.why if full is not None else "") == why
    assert sum(one.refused.values()) == 0, "another endpoint may have room"


def test_what_rests_elsewhere_is_closed_to_make_room():
    one, resting = limits({"connections": 2}), Member(idle=2)
    assert one.full(Member(), [resting]) is None
    assert len(resting.idle) == 1


def test_what_is_relayed_cannot_use_a_kept_connection():
    one, member = limits(endpoint={"connections": 3}), Member(active=1, idle=2)
    assert one.full(member, [member]) is None
    assert len(member.idle) == 2
    assert one.full(member, [member], fresh=True) is None
    assert len(member.idle) == 1, "it has made room"
    busy = Member(active=3)
    assert one.full(busy, [busy], fresh=True).limit == "connections"
    one, member = limits(endpoint={"pending": 1}), Member(active=1, dials=1, idle=1)
    assert one.full(member, [member], fresh=True).limit == "pending"


class Counted(list):
    """Endpoints that know how often they were looked through."""

    looks = 0

    def __iter__(self):
        self.looks += 1
        return super().__iter__()


@pytest.mark.parametrize("limit", ["pending", "connections"])
def test_who_is_far_from_a_limit_is_seldom_counted_and_who_is_near_each_time(limit):
    """A new connection must not cost more with a thousand endpoints: they are looked through as the room halves."""
    members = Counted(Member() for _ in range(1000))
    one, made = limits({limit: 4000}), 0
    while one.full(members[made % 1000], members, fresh=True) is None:
        members[made % 1000].active += 1
        members[made % 1000].dials.append(None)
        made += 1
    assert made == 4000  # exactly, for all that
    assert members.looks < 40


def test_room_that_was_found_under_another_limit_is_none():
    members = [Member(active=5)]
    one = limits({"connections": 1000})
    assert one.full(members[0], members) is None
    one.spec = ConcurrencySpec(whole=LimitsSpec(connections=5))
    assert one.full(members[0], members).limit == "connections"
