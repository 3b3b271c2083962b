"""What `/breakers` shows: which endpoints this proxy leaves alone, since when, why and until when; what limits refuse.

Asked by `pages`, read by `sidewinder breakers`; `seen` is the short form for the operator, which puts it together into
objects' status. The metrics of the same are here, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.resilience.breaker import CLOSED

if TYPE_CHECKING:
    from sidewinder_sidecar.fleet import Fleet
    from sidewinder_sidecar.main.process import Process
    from sidewinder_sidecar.resilience.breaker import Breaker
    from sidewinder_sidecar.telemetry.metrics import Sample
    from sidewinder_sidecar.upstream.backend import Backend
    from sidewinder_sidecar.upstream.endpoint import Endpoint

MOST: Final = 1000  # open breakers on a page: 250 KB; there are more only where everything is down


def told(process: Process) -> dict[str, object]:
    """The page."""
    fleet, away = process.proxy.fleet, time.time() - process.proxy.clock()
    left = MOST
    backends: list[dict[str, object]] = []
    for backend in _guarded(fleet):
        opened = _opened(backend, away)[:left]
        left -= len(opened)
        backends.append(_row(backend, opened))
    return {"since": round(process.began, 3), "backends": backends}


def seen(fleet: Fleet, now: float, wall: float) -> dict[str, list[dict[str, Any]]]:
    """The open breakers by backend, for the operator."""
    found = {backend.name: _opened(backend, wall - now)[:MOST] for backend in _guarded(fleet)}
    return {name: opened for name, opened in found.items() if opened}


def _guarded(fleet: Fleet) -> list[Backend]:
    backends = fleet.backends.values()
    return [one for one in backends if one.outliers is not None or one.limits is not None or one.panicking]


def _row(backend: Backend, opened: list[dict[str, Any]]) -> dict[str, object]:
    row: dict[str, object] = {
        "backend": backend.name,
        "service": backend.service,
        "endpoints": len(backend.endpoints),
        "panicking": backend.panicking,
        "ejections": backend.outliers.ejections if backend.outliers is not None else 0,
        "open": opened,
    }
    if (limits := backend.limits) is not None:
        row["concurrency"] = {"requests": limits.requests, "refused": dict(limits.refused)}
    return row


def _opened(backend: Backend, away: float) -> list[dict[str, Any]]:
    """`away`: from the data path's clock to seconds since 1970."""
    outliers = backend.outliers
    if outliers is None or not outliers.ejected:
        return []
    opened = [breaker for breaker in outliers.breakers.values() if breaker.state != CLOSED]
    return [_breaker(breaker, away) for breaker in sorted(opened, key=lambda breaker: breaker.member.address)]


def _breaker(breaker: Breaker[Endpoint], away: float) -> dict[str, Any]:
    return {
        "endpoint": address(breaker.member),
        "uid": breaker.member.uid,
        "state": breaker.state,
        "since": round(breaker.since + away, 3),
        "until": round(breaker.until + away, 3),
        "why": breaker.why,
        "times": breaker.times,
    }


def address(endpoint: Endpoint) -> str:
    """`ip:port`, as people and labels have it."""
    host, port = endpoint.address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def gauges(process: Process) -> None:
    """Register what is read when it is rendered. Where no policy asks for it there is nothing to show."""
    add, fleet = process.metrics.add, process.proxy.fleet
    add("breaker_open", "gauge", "1 for an endpoint that is ejected.", lambda: list(_states(fleet)))
    add(
        "breaker_ejections_total",
        "counter",
        "Times that an endpoint was ejected.",
        lambda: [
            ({"backend": one.name}, one.outliers.ejections) for one in _guarded(fleet) if one.outliers is not None
        ],
    )
    add(
        "backend_panicking",
        "gauge",
        "1 while all endpoints are used since too few are healthy.",
        lambda: [({"backend": one.name}, int(one.panicking)) for one in _guarded(fleet)],
    )
    add("concurrency_requests", "gauge", "Requests that run, where they are limited.", lambda: _running(fleet))
    add("concurrency_refused_total", "counter", "Refused, by the limit that was reached.", lambda: _refused(fleet))


def _states(fleet: Fleet) -> Iterator[Sample]:
    left = MOST
    for backend in _guarded(fleet):
        for row in _opened(backend, 0.0)[:left]:
            left -= 1
            yield {"backend": backend.name, "endpoint": str(row["endpoint"]), "state": str(row["state"])}, 1


def _running(fleet: Fleet) -> Iterable[Sample]:
    return [({"backend": one.name}, one.limits.requests) for one in _guarded(fleet) if one.limits is not None]


def _refused(fleet: Fleet) -> Iterable[Sample]:
    return [
        ({"backend": one.name, "limit": limit}, count)
        for one in _guarded(fleet)
        if one.limits is not None
        for limit, count in one.limits.refused.items()
    ]
