"""What the admin doors show: health, metrics, the configuration in force; and the drain. Wired up by main's recipe."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING

from sidewinder_sidecar.admin import Page, Pages, answer, configuration
from sidewinder_sidecar.main import memory

if TYPE_CHECKING:
    from sidewinder_sidecar.main.process import Process

VERSION = "0.1.0"
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def probes(process: Process) -> Pages:
    """For the kubelet and for Prometheus."""
    return {
        ("GET", "/livez"): lambda: answer(200, {"status": "alive"}),
        ("GET", "/readyz"): lambda: readiness(process),
        ("GET", "/metrics"): lambda: Page(200, process.metrics.render(), EXPOSITION),
    }


def doors(process: Process) -> Pages:
    """For people on this machine, and for a preStop hook."""
    return {
        ("GET", "/config"): lambda: configuration(
            process.configuration.state, process.source, process.configuration.resources
        ),
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
    process.proxy.draining = True
    return answer(200, {"status": "draining", "requests": len(process.proxy.running)})


def gauges(process: Process) -> None:
    """Register what is read when it is rendered."""
    add = process.metrics.add
    proxy, listeners, configured = process.proxy, process.listeners, process.configuration
    build = {"version": VERSION, "python": platform.python_version()}
    add("build_info", "gauge", "What runs.", lambda: [(build, 1)])
    add("requests_in_flight", "gauge", "Exchanges that have not ended.", lambda: len(proxy.running))
    add(
        "connections",
        "gauge",
        "Open connections of callers.",
        lambda: [({"listener": name}, len(one.connections)) for name, (_, one) in listeners.open.items()],
    )
    add("connections_turned_away_total", "counter", "Over the limit.", lambda: listeners.turned_away)
    add("bugs_total", "counter", "Errors of the proxy's own; the log has each.", lambda: proxy.bugs)
    add("draining", "gauge", "1 while the proxy drains.", lambda: int(proxy.draining))
    add("config_applied_total", "counter", "Configurations that were swapped in.", lambda: configured.applied)
    add("config_info", "gauge", "The configuration in force.", lambda: [({"state": configured.state}, 1)])
    _discovery(process)
    _telemetry(process)
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


def _discovery(process: Process) -> None:
    add = process.metrics.add
    discovery = process.discovery
    if discovery is None:
        return
    add("config_refused_total", "counter", "Configurations that were refused.", lambda: discovery.refused)
    add("discovery_connected", "gauge", "1 while the operator is heard.", lambda: int(discovery.connected))
    add("discovery_connections_total", "counter", "Streams that were begun.", lambda: discovery.connections)


def _telemetry(process: Process) -> None:
    add = process.metrics.add
    if (log := process.recorder.access_log) is not None:
        add("access_log_dropped_total", "counter", "Lines that the reader was too slow for.", lambda: log.dropped)
    if (spans := process.recorder.spans) is not None:
        add("spans_exported_total", "counter", "Spans that the receiver took.", lambda: spans.exported)
        add("spans_dropped_total", "counter", "Spans that nobody will see.", lambda: spans.lost)
        add("spans_waiting", "gauge", "Spans that wait for the receiver.", lambda: spans.waiting)
