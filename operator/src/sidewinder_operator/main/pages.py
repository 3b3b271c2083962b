"""The health port: `/livez`, `/readyz` and `/leadz` for the kubelet and people, `/drainz`, `/metrics` for Prometheus.

Serving and leading are told apart: a replica that does not lead is as ready as one that does, and one that cannot reach
the API server serves on what it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from sidewinder_operator.compile import probers
from sidewinder_operator.main.metrics import Family, by, one

if TYPE_CHECKING:
    from sidewinder_operator.main.process import Process

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def application(process: Process) -> web.Application:
    """All pages of one process."""

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        lacking = process.lacking()
        return web.json_response(
            {"ready": not lacking, "leading": process.lease.leader(), "waitsFor": lacking, "ages": _ages(process)},
            status=503 if lacking else 200,
        )

    async def leads(_: web.Request) -> web.Response:
        return web.json_response({"leading": process.lease.leader(), "holder": process.lease.holder})

    async def drains(_: web.Request) -> web.Response:
        return web.json_response(process.drains.told())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=process.metrics.text().encode(), headers={"Content-Type": METRICS_TYPE})

    found = web.Application()
    pages = {"/livez": live, "/readyz": ready, "/leadz": leads, "/drainz": drains, "/metrics": metrics}
    for path, page in pages.items():
        found.router.add_get(path, page)
    return found


def measure(process: Process) -> None:
    """Tells the metrics who knows what."""
    process.metrics.add(*_leading(process), *_knowing(process), *_serving(process), *_writing(process))
    process.metrics.add(*process.neighbours.families(), *process.census.families())


def _leading(process: Process) -> tuple[Family, ...]:
    lease, handlers, deaths = process.lease, process.handlers, process.supervisor.deaths
    return (
        Family("leader", "gauge", "Whether this replica leads.", one(lambda: float(lease.leader()))),
        Family("terms_total", "counter", "How often this replica came to lead.", one(lambda: lease.terms)),
        Family("lease_failures_total", "counter", "Tries for the Lease that failed.", one(lambda: lease.failures)),
        Family("kopf_starts_total", "counter", "How often kopf was started.", one(lambda: handlers.starts)),
        Family("task_deaths_total", "counter", "Tasks that died.", by("task", lambda: deaths)),
    )


def _knowing(process: Process) -> tuple[Family, ...]:
    def each(name: str, kind: Literal["counter", "gauge"], help_: str, value: Callable[[Any], float]) -> Family:
        reflectors = process.watch.reflectors
        return Family(name, kind, help_, by("kind", lambda: {of: value(reflectors[of]) for of in reflectors}))

    return (
        each("objects", "gauge", "Objects known.", lambda of: len(of.records)),
        each(
            "reflector_age_seconds", "gauge", "Since the API server was heard of; a minute is usual.", lambda of: of.age
        ),
        each("reflector_synced", "gauge", "Whether all were known once.", lambda of: float(of.synced.is_set())),
        each("reflector_events_total", "counter", "Events.", lambda of: of.events),
        each("reflector_relists_total", "counter", "How often all objects were read.", lambda of: of.relists),
        each("reflector_failures_total", "counter", "Watches and lists that failed.", lambda of: of.failures),
    )


def _serving(process: Process) -> tuple[Family, ...]:
    store, acks = process.store, process.acks
    return (
        Family("turns_total", "counter", "Turns of the reconciler.", one(lambda: process.reconciler.rounds)),
        Family("problems", "gauge", "What is wrong with objects.", by("severity", process.problems)),
        Family("unhealthy_endpoints", "gauge", "Endpoints unwell.", by("service", lambda: _unhealthy(process))),
        Family("unchecked_endpoints", "gauge", "Nobody can check them.", by("service", lambda: _unchecked(process))),
        Family("pushes_total", "counter", "New pictures for proxies.", one(lambda: process.pushes)),
        Family("proxies_required", "gauge", "Proxies that run.", one(lambda: len(store.pictures))),
        Family("drains_total", "counter", "Proxies that have ended in order.", one(lambda: process.drains.count)),
        Family("drains_cut_total", "counter", "Requests they cut off.", one(lambda: process.drains.cut)),
        Family("proxies_behind", "gauge", "Proxies that lack something.", one(lambda: len(acks.behind()))),
    )


def _unhealthy(process: Process) -> dict[str, float]:
    """A Service's port → how many of its endpoints do not pass their health checks, where there are any."""
    services = process.round.compiled.mesh.services.values() if process.round is not None else ()
    counts = {port.name: sum(not each.healthy for each in port.endpoints) for of in services for port in of.ports}
    return {name: float(count) for name, count in counts.items() if count}


def _unchecked(process: Process) -> dict[str, float]:
    found = probers.unchecked(process.round.compiled.mesh) if process.round is not None else {}
    return {name: float(count) for name, count in found.items()}


def _writing(process: Process) -> tuple[Family, ...]:
    writer, notices = process.writer, process.notices
    return (
        Family("status_writes_total", "counter", "Statuses written.", one(lambda: writer.writes)),
        Family("status_failures_total", "counter", "Statuses that failed.", one(lambda: writer.failures)),
        Family("events_total", "counter", "Events told.", one(lambda: writer.events + notices.events)),
    )


def _ages(process: Process) -> dict[str, float]:
    return {kind: round(reflector.age, 1) for kind, reflector in process.watch.reflectors.items()}
