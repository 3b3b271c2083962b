"""Which endpoints proxies leave alone, put together for the status of the policies that have them do so.

What a proxy says counts for backends that it has, and no others: its word is only about what it calls. Asked by
`process` whenever statuses are written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.problems import Reference
from sidewinder_operator.reconcile import Round
from sidewinder_sidecar.snapshot.stream import Ejected

MOST: Final = 32  # in one object's status: a person reads no more, and 2 000 proxies may see 10 000 endpoints


def by_policy(havings: Iterable[Having], done: Round | None) -> dict[Reference, tuple[Mapping[str, Any], ...]]:
    """Policy → its endpoints, as the status has them. Costs nothing while all are well."""
    seen: dict[tuple[str, str], list[Ejected]] = {}
    for having in havings:
        for backend, rows in having.ejected.items() if having.ejected else ():
            if f"backend/{backend}" in having.versions:
                for row in rows:
                    seen.setdefault((backend, row.endpoint), []).append(row)
    if not seen or done is None:
        return {}
    found: dict[Reference, list[Mapping[str, Any]]] = {}
    for (backend, endpoint), told in sorted(seen.items()):
        for policy in _policies(done, backend):
            rows_of = found.setdefault(policy, [])
            if len(rows_of) < MOST:
                rows_of.append(_row(backend, endpoint, told))
    return {policy: tuple(rows) for policy, rows in found.items()}


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
    newest = max(told, key=lambda row: (row.since, row.why))
    return {
        "backend": backend,
        "endpoint": endpoint,
        "state": "open" if any(row.state == "open" for row in told) else "half-open",
        "since": _date(min(row.since for row in told)),
        "until": _date(max(row.until for row in told)),
        "reason": newest.why,
        "proxies": len(told),
    }


def _date(seconds: float) -> str:
    try:
        return dt.datetime.fromtimestamp(round(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a proxy's clock, or its word
        return "1970-01-01T00:00:00Z"
