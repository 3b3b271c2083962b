"""What one replica writes about its streams, another one reads: whole, in few bytes, and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.discovery import report
from sidewinder_operator.discovery.acks import Having, Maybe
from sidewinder_operator.discovery.report import Reading, Writing
from sidewinder_operator.discovery.session import Rejection
from sidewinder_sidecar.snapshot.stream import Ejected, Malformed

SHARED = {f"endpoints/shop/service-{number}:80": f"{number:016x}" for number in range(200)}


def own(pod: str) -> dict[str, str]:
    return {**SHARED, "proxy/self": f"proxy-{pod}"}


def told(reading: Reading, line: bytes) -> Any:
    assert line.endswith(b"\n")
    return reading.read(line[:-1])


def test_a_pods_state_comes_over_whole() -> None:
    writing, reading = Writing(), Reading()
    why = Rejection(versions={"route/a": "1"}, resource="route/a", field="rules", why="no")
    having = Having(
        epoch=7, versions={"route/b": "2"}, rejections={"uid": why}, build="1.2", wants=("reviews.shop",),
        trusts=("0123456789abcdef",), renewed=True, until=1_700_000_000,
        health={"x": False},
        ejected={"v1": (Ejected(endpoint="10.0.0.1:80", state="open", since=1.0, until=2.0, why="tests"),)},
    )  # fmt: skip
    assert told(reading, writing.line("a", having)) == ("a", having)
    again = writing.line("a", having)
    assert told(reading, again) == ("a", having), "what is as before needs no words"
    assert b"reviews.shop" not in again
    changed = Having(epoch=8, versions={"route/b": "2"})
    assert told(reading, writing.line("a", changed)) == ("a", changed)


def test_a_second_pod_of_a_kind_and_a_change_cost_little() -> None:
    writing, reading = Writing(), Reading()
    first = writing.line("a", Having(versions=own("a")), "shop")
    second = writing.line("b", Having(versions=own("b")), "shop")
    changed = own("b") | {"endpoints/shop/service-7:80": "new"}
    third = writing.line("b", Having(epoch=1, versions=changed), "shop")
    assert len(first) > 8_000
    assert len(second) < 100
    assert len(third) < 120
    told(reading, first)
    assert told(reading, second) == ("b", Having(versions=own("b")))
    assert told(reading, third) == ("b", Having(epoch=1, versions=changed))


def test_pods_of_another_kind_do_not_build_on_it() -> None:
    writing, reading = Writing(), Reading()
    told(reading, writing.line("a", Having(versions=own("a")), "shop"))
    assert told(reading, writing.line("b", Having(versions={"route/x": "1"}), "office")) == (
        "b",
        Having(versions={"route/x": "1"}),
    )
    assert b"shop" not in writing.line("c", Having(versions={"route/x": "2"}), "office")


def test_an_example_that_is_gone_is_built_on_no_more() -> None:
    writing, reading = Writing(), Reading()
    told(reading, writing.line("a", Having(versions=own("a")), "shop"))
    assert told(reading, writing.line("a", None)) == ("a", None)
    assert reading.pods == {}
    assert told(reading, writing.line("b", Having(versions=own("b")), "shop")) == ("b", Having(versions=own("b")))


def test_what_a_pod_should_have_is_kept_once() -> None:
    wanted = own("a")
    writing, reading = Writing(), Reading(lambda pod: wanted)
    told(reading, writing.line("a", Having(versions=own("a"))))
    assert reading.pods["a"].versions is wanted


def test_pings_say_nothing_and_the_end_of_the_picture_is_remembered() -> None:
    reading = Reading()
    assert told(reading, report.ping(3)) is None
    assert not reading.synced
    assert told(reading, report.SYNCED) is None
    assert reading.synced
    told(reading, report.ping(4))
    assert reading.synced


def test_words_of_a_newer_replica_are_passed_over() -> None:
    assert Reading().read(b'{"pod":"a","epoch":1,"mood":"good"}') == ("a", Having(epoch=1))


@pytest.mark.parametrize("line", [b"nonsense", b'{"pod":7}', b'{"pod":"a","like":"b"}', b"\xff", b"[" * 100_000])
def test_a_malformed_line_is_told(line: bytes) -> None:
    with pytest.raises(Malformed, match=r"not a line about proxies|told to be like"):
        Reading().read(line)


def test_the_number_of_pods_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_PODS", 2)
    reading = Reading()
    reading.read(b'{"pod":"a"}')
    reading.read(b'{"pod":"b"}')
    reading.read(b'{"pod":"a","epoch":2}')
    with pytest.raises(Malformed, match="more than 2"):
        reading.read(b'{"pod":"c"}')


VERSIONS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"))
STEPS = st.lists(st.tuples(st.sampled_from("xyz"), st.none() | VERSIONS, st.sampled_from(["", "k"])), max_size=30)


@given(STEPS)
def test_whatever_is_told_is_what_is_read(steps: list[tuple[str, dict[str, str] | None, str]]) -> None:
    writing, reading, expected = Writing(), Reading(), dict[str, Having]()
    for epoch, (pod, versions, kind) in enumerate(steps):
        having = Having(epoch=epoch, versions=versions) if versions is not None else None
        assert told(reading, writing.line(pod, having, kind)) == (pod, having)
        if having is None:
            expected.pop(pod, None)
        else:
            expected[pod] = having
        assert reading.pods == expected


def test_what_is_left_open_comes_over_once_and_as_far_as_it_names_anybody() -> None:
    writing, reading = Writing(), Reading()
    maybe = Maybe(epoch=3, versions=({"endpoints/shop/web:80": "1", "route/a": "2"}, {"endpoints/inbound-80": "3"}))
    assert told(reading, writing.open("a", maybe)) is None
    assert reading.rest()[0] == {"a": Maybe(epoch=3, versions=({"endpoints/shop/web:80": "1"}, {}))}
    assert writing.open("a", maybe) == b""
    assert told(reading, writing.open("a", None)) is None
    assert reading.rest()[0] == {"a": Maybe()}
    assert writing.open("a", None) == b""


def test_only_what_is_new_of_whom_a_replica_has_sworn_off_is_told() -> None:
    writing, reading = Writing(), Reading()
    told(reading, writing.sworn({"a", "b"}))
    assert reading.rest() == ({}, {"a", "b"}, set())
    assert writing.sworn({"a", "b"}) == b""
    told(reading, writing.sworn({"b", "c"}))
    assert reading.rest() == ({}, {"c"}, {"a"})
    told(reading, writing.sworn({"c"}))
    told(reading, writing.sworn({"b", "c"}))
    assert reading.rest() == ({}, {"b"}, set()), "the last word counts"


def test_what_is_open_of_a_crowd_costs_little_and_is_kept_once() -> None:
    writing, reading = Writing(), Reading()
    lines = [writing.open(pod, Maybe(epoch=1, versions=(own(pod),))) for pod in ("a", "b", "c")]
    last = writing.open("d", Maybe(epoch=1, versions=(own("d") | {"endpoints/shop/service-7:80": "new"}, SHARED)))
    assert len(lines[0]) > 8_000
    assert max(map(len, lines[1:])) < 60
    assert len(last) < 150
    for line in (*lines, last):
        told(reading, line)
    found = reading.rest()[0]
    assert found["a"].versions == (SHARED,)
    assert found["b"].versions[0] is found["a"].versions[0] is found["c"].versions[0]
    assert found["d"].versions == (SHARED | {"endpoints/shop/service-7:80": "new"}, SHARED)
