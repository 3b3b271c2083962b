"""What `sidewinder check` says about the certificates of running proxies. Called by `pods`, for each namespace.

Each proxy's metrics are asked through the API server; of many, some: a mesh whose renewals fail shows it everywhere.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence

from sidewinder_operator.cli.findings import Api, Finding
from sidewinder_operator.cli.identity import LATE
from sidewinder_operator.cli.kubectl import Refused
from sidewinder_operator.inject.options import PROBE

ASKED = 10  # of a namespace: kubectl takes 50 ms each

_GAUGE = re.compile(r"^sidewinder_identity_(expires|renews)_timestamp_seconds ([0-9.]+)$", re.MULTILINE)


def certificates(api: Api, namespace: str, pods: Sequence[str], now: dt.datetime) -> Iterator[Finding]:
    """Those of these pods' proxies that have ended, or whose renewal is late."""
    about = f"namespace {namespace}"
    ended, late, silent = [], [], []
    asked = sorted(pods)[:ASKED]
    for pod in asked:
        try:
            page = api.text(f"/api/v1/namespaces/{namespace}/pods/{pod}:{PROBE}/proxy/metrics")
        except Refused:
            silent.append(pod)
            continue
        times = {name: float(value) for name, value in _GAUGE.findall(page)}
        if times.get("expires", 0) <= now.timestamp():
            ended.append(pod)
        elif now.timestamp() > times.get("renews", 0) + LATE.total_seconds():
            late.append(pod)
    for found, level, what in (
        (ended, "error", "have no certificate that holds: no configuration reaches them"),
        (late, "warning", "could not renew their certificate when they should have"),
    ):
        if found:
            yield Finding(level="error" if level == "error" else "warning", about=about,
                          message=f"the proxies of {', '.join(found)} {what}",
                          advice=f"sidewinder identity {found[0]} --namespace {namespace} says why")  # fmt: skip
    if silent:
        yield Finding(level="warning", about=about, message=f"the proxies of {', '.join(silent)} could not be asked",
                      advice="check with the right to get pods/proxy, and whether nodes reach port 15021")  # fmt: skip
    if asked and not (ended or late or silent):
        yield Finding(level="ok", about=about, message=f"certificates of {len(asked)} proxies hold and are renewed")
