"""What is told of ejected endpoints: all of it on a new stream, then what changes, and never more than a bound."""

from __future__ import annotations

from typing import Any

from sidewinder_sidecar.discovery.reports import LONGEST_WHY, Reports, shortened
from sidewinder_sidecar.snapshot.stream import MOST_EJECTED


def row(endpoint: str = "10.0.0.1:80", **more: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "uid": "u", "state": "open", "since": 10.2, "until": 20.2, "why": "tests", **more}


def test_changes_are_told_once_and_a_new_stream_hears_it_all():
    now: dict[str, list[dict[str, Any]]] = {}
    said: list[Any] = []
    reports = Reports(lambda: now)
    reports.tick()
    reports.connect(said.append)
    assert said == [], "nobody is left alone: nothing to tell"
    now["v1"] = [row()]
    reports.tick()
    now["v1"] = [row(since=10.6, until=20.6)]  # the clocks have moved against each other
    reports.tick()
    assert len(said) == 1
    now["v1"] = [row(until=40.0)]
    reports.tick()
    now["v1"] = [row(until=40.0, state="half-open")]
    reports.tick()
    now.clear()
    reports.tick()
    assert [len(each) for each in said] == [1, 1, 1, 0]
    now["v1"] = [row()]
    reports.disconnect()
    reports.tick()
    assert len(said) == 4
    other: list[Any] = []
    reports.connect(other.append)
    assert [each["v1"][0].endpoint for each in other] == ["10.0.0.1:80"]
    assert repr(reports) == "<Reports 1 ejected>"


def test_what_could_not_be_sent_is_told_again():
    said: list[Any] = []
    deaf = True
    reports = Reports(lambda: {"v1": [row()]})
    reports.connect(lambda told: said.append(told) if not deaf else False)
    reports.tick()
    assert said == []
    deaf = False
    reports.tick()
    reports.tick()
    assert len(said) == 1


def test_a_message_has_an_end():
    many = {f"v{number}": [row(why="x" * 1000)] * 10 for number in range(10)}
    told = shortened(many)
    assert sum(map(len, told.values())) == MOST_EJECTED
    assert all(len(each.why) == LONGEST_WHY for rows in told.values() for each in rows)
    assert list(told) == [f"v{number}" for number in range(7)]
