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


def test_for_whom_a_pod_waits_is_said_once_and_kept_with_its_last_word() -> None:
    said: list[str] = []
    found = Drains(lambda workload: f"shop/{workload}", say=lambda who, how, bad: said.append(f"{who} {how}"))
    holders = (("b", "is not connected"), ("", "is not heard"))
    for _ in range(3):
        found.hold("a", holders)
    named = "shop/b is not connected; another replica of the operator is not heard"
    assert said == [f"shop/a leaves, and may still be called: {named}"]
    found.hold("a", holders[:1])
    assert len(said) == 1
    found.tell("a", QUICK)
    assert said[1].endswith("nothing was cut; waited to be forgotten: shop/b is not connected")
    assert found.told()[0]["held"] == ("shop/b is not connected",)
    found.tell("a", QUICK)
    assert found.told()[1]["held"] == (), "that was another one"


def test_pods_that_never_say_a_last_word_are_not_kept_for_ever() -> None:
    found = Drains(str, say=lambda *words: None)
    for number in range(drains.MOST + 5):
        found.hold(str(number), (("b", "is not connected"),))
    assert len(found._held) == drains.MOST


def test_a_last_resort_waits_for_itself() -> None:
    said: list[str] = []
    found = Drains(lambda workload: f"shop/{workload}", say=lambda who, how, bad: said.append(f"{who} {how}"))
    found.hold("a", (("a", "is the last resort of shop/web:80"),))
    assert said == ["shop/a leaves, and may still be called: it is the last resort of shop/web:80"]
    found.hold("a", (("b", "is not connected"),))
    found.tell("a", QUICK)
    assert found.told()[0]["held"] == ("it is the last resort of shop/web:80", "shop/b is not connected")
