"""What proxies have said last: kept for people, counted, and told once."""

from __future__ import annotations

import logging

import pytest

from sidewinder_operator.discovery import drains
from sidewinder_operator.discovery.drains import Drains, sentence
from sidewinder_sidecar.snapshot.stream import Drained

QUICK = Drained(drained=0.0125, leaving=2.5)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        pytest.param(
            QUICK, "drained in 0.013 s: waited for 0 requests on 0 connections; nothing was cut", id="nothing-ran"
        ),
        pytest.param(
            Drained(drained=3.0, leaving=4.0, retired=0.25, requests=5, upgraded=2, relayed=1, connections=9),
            "drained in 3.000 s: waited for 5 requests (2 upgraded, 1 relayed) on 9 connections; nothing was cut; "
            "nobody sent anything new 0.250 s after it began to leave",
            id="all-kinds",
        ),
        pytest.param(
            Drained(drained=25.0, leaving=25.0, requests=2, connections=2, cut_requests=1, cut_connections=2),
            "drained in 25.000 s: waited for 2 requests on 2 connections; 1 requests and 2 connections were cut",
            id="cut",
        ),
    ],
)
def test_how_it_went_in_words(report: Drained, said: str) -> None:
    assert sentence(report) == said


def test_each_is_named_counted_and_observed() -> None:
    took: list[float] = []
    said: list[tuple[str, str, bool]] = []
    found = Drains(lambda workload: f"shop/{workload}", took.append, lambda *words: said.append(words))
    found.tell("a", QUICK)
    found.tell("b", Drained(drained=2.0, leaving=2.0, requests=3, cut_requests=2))
    assert took == [0.0125, 2.0]
    assert (found.count, found.cut) == (2, 2)
    assert [(who, bad) for who, _, bad in said] == [("shop/a", False), ("shop/b", True)]
    first, second = found.told()
    assert (first["who"], second["who"]) == ("shop/a", "shop/b")
    assert second["report"]["cut_requests"] == 2
    assert 0 < first["at"] <= second["at"]


def test_only_the_last_are_kept() -> None:
    found = Drains(str, say=lambda *words: None)
    for number in range(drains.MOST + 5):
        found.tell(str(number), QUICK)
    assert [one["who"] for one in found.told()][:2] == ["5", "6"]
    assert len(found.told()) == drains.MOST
    assert found.count == drains.MOST + 5


def test_the_log_has_each_and_warns_of_what_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidewinder.drains")
    found = Drains(str)
    found.tell("a", QUICK)
    found.tell("b", Drained(drained=1.0, leaving=1.0, cut_requests=1))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert caplog.messages[0].startswith("a drained in 0.013 s: waited for 0 requests")
