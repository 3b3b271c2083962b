"""Whether the spans of a request are one trace through every hop. Used by `demo.py` and the live tests.

A hop is a sidecar: it tells a server span for what came in and, below it, a client span for each try that went out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

SERVER, CLIENT = 2, 3  # OTLP's numbers of the kinds
# The way of a request: through the way in, into an application by its sidecar, out of it by the same one.
HOPS = ("way-in", "productpage", "productpage", "reviews", "reviews", "ratings")
SPANS = 2 * len(HOPS)


def faults(spans: Iterable[dict[str, Any]]) -> list[str]:
    """What is wrong with these spans, a line a trace."""
    traces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        traces[span["trace_id"]].append(span)
    return [f"trace {name}: {fault}" for name, trace in traces.items() if (fault := _fault(trace))]


def complete(spans: Collection[dict[str, Any]], requests: int) -> bool:
    """Whether all spans of that many requests are there. Counting them is not enough: a retry makes more of them."""
    traces = {span["trace_id"] for span in spans}
    return len(spans) >= requests * SPANS and len(traces) >= requests and not faults(spans)


def _fault(trace: list[dict[str, Any]]) -> str:
    by_id = {span["span_id"]: span for span in trace}
    below: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in trace:
        below[span["parent_id"]].append(span)
    roots = [span for span in trace if span["parent_id"] not in by_id]
    if len(roots) != 1 or roots[0]["parent_id"]:
        return f"{len(roots)} spans without a parent, of {len(trace)}"
    followed = []
    span: dict[str, Any] | None = roots[0]
    while span is not None:  # of several tries the last one went on
        followed.append((span["resource"].get("service.name"), span["kind"]))
        following = sorted(below[span["span_id"]], key=lambda each: each["start"])
        span = following[-1] if following else None
    wanted = [(name, kind) for name in HOPS for kind in (SERVER, CLIENT)]
    return "" if followed == wanted else f"the way was {followed}, not {wanted}"
