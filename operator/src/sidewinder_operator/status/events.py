"""Events: what changed in an object's conditions and a person should see, told once to whoever describes the object.

Called by `writer` after a status is written. What was told is known from the status that stood there before, so that a
new leader tells nothing twice.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.meta import VERSION

LONGEST_NOTE = 1024  # bytes, as events.k8s.io/v1 allows
PATH = "/apis/events.k8s.io/v1"
# Conditions of which a person should hear: (type, status), and of Programmed only a refusal, never that it takes time.
_TELLING = {("Accepted", "False"), ("ResolvedRefs", "False"), ("Overridden", "True")}
_REFUSED = ("Programmed", "False", "Rejected")


def news(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The conditions that say something that was not said before."""
    known = {each.get("type"): _said(each) for each in before.get("conditions") or ()}
    for condition in now.get("conditions") or ():
        kind, status, reason = condition["type"], condition["status"], condition["reason"]
        if (kind, status) not in _TELLING and (kind, status, reason) != _REFUSED:
            continue
        if known.get(kind) != _said(condition):
            yield condition


def event(
    reference: Reference, uid: str, condition: Mapping[str, Any], who: str, api_version: str = VERSION
) -> tuple[str, dict[str, Any]]:
    """The path and body of the Event that tells a condition's reason and message; `who` is this replica."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{PATH}/namespaces/{reference.namespace}/events", {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{reference.name[:200].rstrip('.-')}-", "namespace": reference.namespace},
        "eventTime": now,
        "reportingController": "sidewinder.dev/operator",
        "reportingInstance": who,
        "action": "Report",
        "type": "Warning",
        "reason": condition["reason"][:128],
        "note": _shortened(condition["message"] or condition["reason"]),
        "regarding": {
            "apiVersion": api_version,
            "kind": reference.kind,
            "namespace": reference.namespace,
            "name": reference.name,
            "uid": uid,
        },
    }


def _said(condition: Mapping[str, Any]) -> tuple[Any, ...]:
    return condition.get("status"), condition.get("reason"), condition.get("message")


def _shortened(text: str) -> str:
    raw = text.encode()
    return text if len(raw) <= LONGEST_NOTE else raw[: LONGEST_NOTE - 4].decode("utf-8", "ignore") + " …"
