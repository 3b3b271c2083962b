"""What the admin doors show: health, metrics, the configuration in force; and the drain. Wired up by main's recipe."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING

from sidewinder_sidecar.admin import Page, Pages, answer, configuration, problem
from sidewinder_sidecar.main import breakers, callers, checking, memory, mirrors
from sidewinder_sidecar.main.draining import Crowded
from sidewinder_sidecar.resilience import adaptive

if TYPE_CHECKING:
    from sidewinder_sidecar.identity.renewal import Identity
    from sidewinder_sidecar.identity.watched import Watched
    from sidewinder_sidecar.main.process import Process

VERSION = "0.1.0"
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def probes(process: Process) -> Pages:
    """For the kubelet and for Prometheus."""
    shown: Pages = {
        ("GET", "/livez"): lambda: answer(200, {"status": "alive"}),
        ("GET", "/readyz"): lambda: readiness(process),
        ("GET", "/metrics"): lambda: Page(200, process.metrics.render(), EXPOSITION),
        ("GET", "/drain"): lambda: hold(process),
    }
    if process.settings.probes:
        from sidewinder_sidecar.main import probing  # 0.2 MB that a proxy without probes never needs

        shown |= probing.pages(process.settings.pod_address, process.settings.probes)
    return shown


def doors(process: Process) -> Pages:
    """For people on this machine, and for a preStop hook."""
    identity = process.identity
    shown: Pages = {("GET", "/identity"): lambda: answer(200, told(identity))} if identity is not None else {}
    return shown | {
        ("GET", "/config"): lambda: configuration(
            process.configuration.state, process.source, process.configuration.resources
        ),
        ("GET", "/breakers"): lambda: answer(200, breakers.told(process)),
        ("GET", "/callers"): lambda: answer(200, callers.told(process)),
        ("GET", "/mirror"): lambda: answer(200, mirrors.told(process)),
        ("GET", "/health-checks"): lambda: answer(200, checking.told(process)),
        ("POST", "/drain"): lambda: drain(process),
    }


def readiness(process: Process) -> Page:
    """Ready means: a configuration, new or last known, is served. Never the control plane's health."""
    missing = []
    if not process.configuration.applied:
        missing.append("no configuration has been applied yet")
    if process.proxy.draining:
        missing.append("draining")
    if missing:
        return answer(503, {"status": "not ready", "missing": missing})
    return answer(
        200, {"status": "ready", "listeners": {name: one.port for name, (_, one) in process.listeners.open.items()}}
    )


def drain(process: Process) -> Page:
    """Accept on, but say `Connection: close` and be not ready: whoever balances over us goes elsewhere."""
    process.drain.begin("asked by somebody on this machine")
    return answer(200, {"status": "draining", "requests": len(process.proxy.running)})


async def hold(process: Process) -> Page:
    """For preStop hooks: answered when an application may end. Changes nothing."""
    began = time.monotonic()
    try:
        outcome = await process.drain.may_end()
    except Crowded:
        return problem(503, "too many wait for the drain already")
    return answer(200, {"status": outcome, "seconds": round(time.monotonic() - began, 3)})


def told(identity: Identity | Watched) -> dict[str, object]:
    """What `/identity` shows: everything but the key."""
    from sidewinder_sidecar.identity.renewal import date

    held = identity.held
    page: dict[str, object] = {
        "certificate": None,
        "roots": [],
        "usable": identity.usable,
        "enrolments": identity.enrolments,
        "failures": identity.failures,
        "fault": identity.fault,
    }
    if held is not None:
        page["certificate"] = {
            "spiffe_id": held.leaf.spiffe_id,
            "pod_uid": held.leaf.subject,
            "serial": held.leaf.serial,
            "not_before": date(held.leaf.not_before),
            "not_after": date(held.leaf.not_after),
            "renew_at": date(identity.renew_at),
        }
        page["roots"] = [
            {"name": root.name, "sha256": root.sha256, "not_after": date(root.not_after)} for root in held.roots
        ]
    return page


def gauges(process: Process) -> None:
    """Register what is read when it is rendered."""
    add = process.metrics.add
    proxy, listeners, configured = process.proxy, process.listeners, process.configuration
    add("policy_decisions_total", "counter", "What policies have decided.", proxy.fleet.means.counted)
    kept = proxy.fleet.means.memory
    add("adaptive_concurrency_limit", "gauge", "Requests at once, as found out.", lambda: adaptive.limits(kept))
    add("adaptive_concurrency_running", "gauge", "Requests that run against it.", lambda: adaptive.running(kept))
    build = {"version": VERSION, "python": platform.python_version()}
    add("build_info", "gauge", "What runs.", lambda: [(build, 1)])
    add("requests_in_flight", "gauge", "Exchanges and relayed connections that run.", lambda: len(proxy.running))
    add(
        "connections",
        "gauge",
        "Open connections of callers.",
        lambda: [({"listener": name}, len(one.connections)) for name, (_, one) in listeners.open.items()],
    )
    add("connections_turned_away_total", "counter", "Over the limit.", lambda: listeners.turned_away)
    add("bugs_total", "counter", "Errors of the proxy's own; the log has each.", lambda: proxy.bugs)
    add("draining", "gauge", "1 while the proxy drains.", lambda: int(proxy.draining))
    _drain(process)
    add("config_applied_total", "counter", "Configurations that were swapped in.", lambda: configured.applied)
    add("config_info", "gauge", "The configuration in force.", lambda: [({"state": configured.state}, 1)])
    _discovery(process)
    _identity(process)
    _tls(process)
    _telemetry(process)
    breakers.gauges(process)
    mirrors.gauges(process)
    checking.gauges(process)
    deaths = process.supervisor.deaths
    add(
        "background_deaths_total",
        "counter",
        "Background tasks that died and were started again.",
        lambda: [({"task": name}, count) for name, count in deaths.items()],
    )
    add("memory_trims_total", "counter", "Times that freed memory was given back.", lambda: process.trimmer.trimmed)
    add("process_resident_memory_bytes", "gauge", "Memory in use.", memory.resident)
    add("process_cpu_seconds_total", "counter", "CPU time used.", time.process_time)
    add("process_open_fds", "gauge", "Open files and sockets.", memory.descriptors)
    add("process_start_time_seconds", "gauge", "When the process began.", lambda: process.began)


def _drain(process: Process) -> None:
    add, one = process.metrics.add, process.drain
    add("drain_seconds", "gauge", "Since the drain began.", lambda: one.seconds)
    add(
        "drain_retired_seconds",
        "gauge",
        "From its begin until nobody sent anything new; 0: not yet.",
        lambda: one.retired_seconds,
    )
    add("drain_held", "gauge", "Applications that wait to end.", lambda: one.waiting)
    add(
        "drain_waited_for",
        "gauge",
        "What ran when the proxy was told to stop.",
        lambda: [
            ({"what": "requests"}, one.requests),
            ({"what": "upgraded"}, one.upgraded),
            ({"what": "relayed"}, one.relayed),
            ({"what": "connections"}, one.connections),
        ],
    )
    add("drain_cut", "gauge", "Requests that did not end in time.", lambda: one.cut)


def _discovery(process: Process) -> None:
    add = process.metrics.add
    discovery = process.discovery
    if discovery is None:
        return
    add("config_refused_total", "counter", "Configurations that were refused.", lambda: discovery.refused)
    add("discovery_connected", "gauge", "1 while the operator is heard.", lambda: int(discovery.connected))
    add("discovery_connections_total", "counter", "Streams that were begun.", lambda: discovery.connections)
    wants = process.wants
    add(
        "discovery_wants_total",
        "counter",
        "First calls to what was not known, by what came of them.",
        lambda: [
            ({"result": "answered"}, wants.answered),
            ({"result": "unknown"}, wants.unknown),
            ({"result": "late"}, wants.late),
        ],
    )


def _identity(process: Process) -> None:
    add = process.metrics.add
    identity = process.identity
    if identity is None:
        return
    add(
        "identity_expires_timestamp_seconds",
        "gauge",
        "When the certificate ends; 0 while there is none.",
        lambda: identity.held.leaf.not_after if identity.held is not None else 0,
    )
    add(
        "identity_renews_timestamp_seconds",
        "gauge",
        "When the certificate is to be renewed; long ago means that it cannot be.",
        lambda: identity.renew_at,
    )
    add(
        "identity_enrolments_total",
        "counter",
        "Certificates asked for, by how it went.",
        lambda: [({"result": "done"}, identity.enrolments), ({"result": "failed"}, identity.failures)],
    )


def _tls(process: Process) -> None:
    add, keyring = process.metrics.add, process.keyring
    add(
        "tls_handshakes_total",
        "counter",
        "TLS handshakes, of callers (server) and to upstreams (client), by how they ended.",
        lambda: [({"side": side, "result": result}, count) for (side, result), count in keyring.counted.items()],
    )
    add("tls_connections", "gauge", "Open connections over TLS.", lambda: len(keyring.lines))
    add("tls_handshakes_pending", "gauge", "Handshakes of callers that run.", lambda: keyring.pending)


def _telemetry(process: Process) -> None:
    add = process.metrics.add
    if (log := process.recorder.access_log) is not None:
        add("access_log_dropped_total", "counter", "Lines that the reader was too slow for.", lambda: log.dropped)
    if (spans := process.recorder.spans) is not None:
        add("spans_exported_total", "counter", "Spans that the receiver took.", lambda: spans.exported)
        add("spans_dropped_total", "counter", "Spans that nobody will see.", lambda: spans.lost)
        add("spans_waiting", "gauge", "Spans that wait for the receiver.", lambda: spans.waiting)
