"""Only news is told, and nothing twice."""

from __future__ import annotations

from typing import Any

from sidewinder_operator.problems import Reference
from sidewinder_operator.status.events import LONGEST_NOTE, event, news


def status(*conditions: tuple[str, str, str, str]) -> dict[str, Any]:
    names = ("type", "status", "reason", "message")
    return {"conditions": [dict(zip(names, each, strict=True)) for each in conditions]}


WELL = ("Accepted", "True", "Accepted", "")
CONFLICT = ("Accepted", "False", "Conflicted", "another came first")
PENDING = ("Programmed", "False", "Pending", "1 of 2")
REJECTED = ("Programmed", "False", "Rejected", "shop/a refuses it")
OVERRIDDEN = ("Overridden", "True", "Overridden", "retry is another's")


def test_only_what_a_person_should_see_is_news() -> None:
    told = [each["reason"] for each in news({}, status(CONFLICT, REJECTED, OVERRIDDEN))]
    assert told == ["Conflicted", "Rejected", "Overridden"]
    assert list(news({}, status(WELL, PENDING))) == []


def test_what_was_said_is_no_news() -> None:
    before = status(CONFLICT, OVERRIDDEN)
    assert list(news(before, status(CONFLICT, OVERRIDDEN))) == []
    other = ("Accepted", "False", "Conflicted", "somebody else came first")
    assert [each["message"] for each in news(before, status(other, OVERRIDDEN))] == [other[3]]
    assert list(news(before, status(WELL))) == []


def test_an_event_fits_what_kubernetes_allows() -> None:
    condition = {"reason": "Conflicted", "message": "ü" * 2000}
    path, body = event(Reference("ApiRoute", "shop", "a." + "b" * 250), "uid", condition, "operator-1")
    assert path == "/apis/events.k8s.io/v1/namespaces/shop/events"
    assert len(body["note"].encode()) <= LONGEST_NOTE
    assert body["regarding"]["uid"] == "uid"
    assert not body["metadata"]["generateName"].removesuffix("-").endswith((".", "-"))
