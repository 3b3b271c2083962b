"""What `/health-checks` shows and what metrics say of it: the endpoints that this proxy looks after for everybody.

Asked by `pages`; `upstream/health` keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidewinder_sidecar.main.process import Process

WORDS = {None: "unknown", True: "healthy", False: "unhealthy"}


def told(process: Process) -> dict[str, object]:
    """The page. `why` is what the last check that did not pass has met."""
    return {
        "checks": [
            {
                "name": check.spec.name,
                "address": "{}:{}".format(*check.endpoint.address),
                "verdict": WORDS[check.streak.verdict],
                "in_a_row": check.streak.length,
                "why": check.why,
            }
            for check in process.checks.checks.values()
        ],
        "dropped": process.checks.dropped,
    }


def gauges(process: Process) -> None:
    """Register what is read when it is rendered."""
    add, checks = process.metrics.add, process.checks
    add(
        "health_checks_total",
        "counter",
        "Checks of endpoints, by what they found out; nothing: a policy or a limit refused them.",
        lambda: [({"result": result}, count) for result, count in checks.counts.items()],
    )
    add(
        "health_check_endpoints",
        "gauge",
        "Endpoints that this proxy looks after, by its verdict.",
        lambda: [
            ({"verdict": word}, sum(check.streak.verdict is verdict for check in checks.checks.values()))
            for verdict, word in WORDS.items()
        ],
    )
