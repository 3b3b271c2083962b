"""Which endpoints proxies leave alone, put together for the status of the policies that have them do so.

What a proxy says counts for backends that it has, and no others: its word is only about what it calls. Asked by
`process` whenever statuses are written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.problems import Reference
from sidewinder_operator.reconcile import Round
from sidewinder_sidecar.snapshot.stream import Ejected

MOST: Final = 32  # in one object's status: a person reads no more, and 2 000 proxies may see 10 000 endpoints


def by_policy(havings: Iterable[Having], done: Round | None) -> dict[Reference, tuple[Mapping[str, Any], ...]]:
    """Policy → its endpoints, as the status has them. Costs nothing while all are well, and 50 ms when 2 000 proxies
    have ejected the same hundred: what a status has no room for is not put together."""
    told: dict[str, list[tuple[Ejected, ...]]] = {}
    for having in havings:
        for backend, rows in having.ejected.items() if having.ejected else ():
            if f"backend/{backend}" in having.versions:
                told.setdefault(backend, []).append(rows)
    if not told or done is None:
        return {}
    found: dict[Reference, list[Mapping[str, Any]]] = {}
    for backend, lists in sorted(told.items()):
        policies = [one for one in _policies(done, backend) if len(found.setdefault(one, [])) < MOST]
        for endpoint, seen in _together(lists) if policies else ():
            row = _row(backend, endpoint, seen)
            for policy in policies:
                if len(found[policy]) < MOST:
                    found[policy].append(row)
    return {policy: tuple(rows) for policy, rows in found.items()}


def _together(lists: list[tuple[Ejected, ...]]) -> Iterator[tuple[str, list[Ejected]]]:
    """The first endpoints by name, and what each proxy says of them."""
    names: set[str] = set()
    for rows in lists:
        names.update([row.endpoint for row in rows])
    some: dict[str, list[Ejected]] = {endpoint: [] for endpoint in sorted(names)[:MOST]}
    for rows in lists:
        for row in rows:
            if (of := some.get(row.endpoint)) is not None:
                of.append(row)
    yield from some.items()


def _policies(done: Round, backend: str) -> list[Reference]:
    """Whose breakers hold there: of all that shaped how it is called, those that have the section."""
    known = done.compiled.mesh.backends.get(backend)
    if known is None or known.circuit_breaker is None:
        return []
    policies = done.compiled.cluster.policies
    return [
        origin.reference
        for origin in known.origins
        if origin.reference.kind == "ApiPolicy"
        and (policy := policies.get((origin.reference.namespace, origin.reference.name))) is not None
        and policy.spec.circuit_breaker is not None
    ]


def _row(backend: str, endpoint: str, told: list[Ejected]) -> Mapping[str, Any]:
    newest = told[0]
    since, until, is_open = newest.since, newest.until, False
    for row in told:
        began = row.since
        if began < since:
            since = began
        if began >= newest.since and (began, row.why) > (newest.since, newest.why):
            newest = row
        if row.until > until:
            until = row.until
        if not is_open:
            is_open = row.state == "open"
    return {
        "backend": backend,
        "endpoint": endpoint,
        "state": "open" if is_open else "half-open",
        "since": _date(since),
        "until": _date(until),
        "reason": newest.why,
        "proxies": len(told),
    }


def _date(seconds: float) -> str:
    try:
        return dt.datetime.fromtimestamp(round(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a proxy's clock, or its word
        return "1970-01-01T00:00:00Z"
