"""concurrency: what is not written is no limit."""

from __future__ import annotations

from sidewinder_operator.compile.concurrency import ROW, build, spec
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.concurrency import Concurrency, EndpointConcurrency
from sidewinder_sidecar.snapshot.upstreams import ConcurrencySpec, LimitsSpec


def test_what_is_written_is_what_is_sent() -> None:
    meant, faults = build(Concurrency(max_requests=256), Cluster(), "shop")
    assert (spec(meant), faults) == (ConcurrencySpec(whole=LimitsSpec(requests=256)), ())
    each = EndpointConcurrency(max_requests=1, max_pending=2, max_connections=3)
    meant, _ = build(Concurrency(max_pending=4, max_connections=5, per_endpoint=each), Cluster(), "shop")
    assert spec(meant) == ConcurrencySpec(
        whole=LimitsSpec(pending=4, connections=5), endpoint=LimitsSpec(requests=1, pending=2, connections=3)
    )
    assert spec(None) is None


def test_it_acts_in_the_callers_proxy() -> None:
    assert ROW.client
