"""adaptiveConcurrency: times become seconds, the header lower case; defaults are those of the snapshot."""

from __future__ import annotations

from sidewinder_operator.compile.adaptive_concurrency import ROW, build, spec
from sidewinder_operator.mesh.adaptive_concurrency import MeshAdaptiveConcurrency
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.adaptive_concurrency import AdaptiveConcurrency
from sidewinder_sidecar.snapshot.policies import AdaptiveConcurrencySpec


def test_as_meant() -> None:
    written = AdaptiveConcurrency(target_latency="1s500ms", priority_header="X-Priority", max_concurrency=50)
    meant, faults = build(written, Cluster(), "shop")
    assert meant == MeshAdaptiveConcurrency(target_latency=1.5, priority_header="x-priority", least=3, most=50)
    assert faults == ()


def test_as_sent() -> None:
    meant, _ = build(AdaptiveConcurrency(target_latency="100ms"), Cluster(), "shop")
    assert spec(meant, "shop/limits") == AdaptiveConcurrencySpec(policy="shop/limits", target_latency=0.1)


def test_it_acts_in_the_serving_proxy_and_protects_nothing() -> None:
    assert not ROW.client
    assert not ROW.written.SECURITY
