"""healthCheck: times become seconds, statuses are sorted, and what is sent says how and whom."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.health_check import ROW, build, spec
from sidewinder_operator.mesh.health_check import MeshCheck, MeshHealthCheck, MeshProbed
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.health_check import HealthCheck, HttpCheck
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec, HttpCheckSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec

WRITTEN = HealthCheck(
    type="HTTP",
    http=HttpCheck(path="/healthz", expected_statuses=(204, 200)),
    interval="1m",
    timeout="250ms",
    healthy_threshold=1,
    unhealthy_threshold=4,
)
MEANT = MeshHealthCheck(path="/healthz", statuses=(200, 204), interval=60.0, timeout=0.25, healthy=1, unhealthy=4)
TCP = MeshHealthCheck(interval=5.0, timeout=1.0, healthy=2, unhealthy=3)


@pytest.mark.parametrize(
    ("written", "meant"),
    [pytest.param(WRITTEN, MEANT, id="HTTP"), pytest.param(HealthCheck(type="TCP"), TCP, id="TCP, and defaults")],
)
def test_what_is_written_is_what_is_meant(written: HealthCheck, meant: MeshHealthCheck) -> None:
    assert build(written, Cluster(), "shop") == (meant, ())


@pytest.mark.parametrize(
    ("section", "http"),
    [
        pytest.param(MEANT, HttpCheckSpec(path="/healthz", statuses=(200, 204)), id="HTTP"),
        pytest.param(TCP, None, id="TCP"),
    ],
)
def test_what_is_sent(section: MeshHealthCheck, http: HttpCheckSpec | None) -> None:
    probed = MeshProbed("uid", "10.0.0.1", 8080, "spiffe://cluster.local/ns/shop/sa/web")
    check = MeshCheck(port="shop/web:80", authority="web.shop:80", section=section, endpoints=(probed,))
    sent = CheckSpec(
        name="shop/web:80",
        authority="web.shop:80",
        http=http,
        interval=section.interval,
        timeout=section.timeout,
        healthy=section.healthy,
        unhealthy=section.unhealthy,
        endpoints=(EndpointSpec(uid="uid", address="10.0.0.1", port=8080, identity=probed.identity),),
    )
    assert spec([check]) == ChecksSpec(checks=(sent,))


def test_it_counts_as_the_callers() -> None:
    assert ROW.client
