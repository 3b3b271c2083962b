"""What `/callers` shows: who called which inbound port, with mTLS or not, and what holds there. Asked by `pages`.

Read by `sidewinder tls`, which says of all proxies of a Service what Strict would break.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sidewinder_sidecar.plan import Plan

if TYPE_CHECKING:
    from sidewinder_sidecar.main.process import Process


def told(process: Process) -> dict[str, object]:
    """The page."""
    proxy = process.proxy
    rows = proxy.callers.told(proxy.clock(), time.time())
    return {
        "since": round(process.began, 3),
        "callers": [{**row, **asked(proxy.plan, str(row["listener"]), int(str(row["port"])))} for row in rows],
        "forgotten": proxy.callers.forgotten,
    }


def asked(plan: Plan, listener: str, port: int) -> dict[str, object]:
    """The mode that holds at a port now, and whether the port is left out of it."""
    found = plan.listeners.get(listener)
    if found is None:
        return {"mode": "Permissive", "excepted": False}
    service = found.reach(("", port)) if found.spec.transparent else found.find(b"")
    guard = service.guard if service is not None else found.guard
    if guard is None:
        return {"mode": "Permissive", "excepted": False}
    section = guard.spec.mtls
    return {"mode": section.mode, "excepted": port in section.except_ports}
