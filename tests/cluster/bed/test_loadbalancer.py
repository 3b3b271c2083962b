"""Which Service gets which address from the load balancer controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed.layout import Layout
from tests.cluster.bed.loadbalancer import decide

LAYOUT = Layout(Path("/bed"), 0, 1, families=(4, 6))
FIRST, SECOND = "198.18.255.129", "198.18.255.130"


def service(*addresses: str, kind: str = "LoadBalancer", **spec: Any) -> dict[str, Any]:
    ingress = [{"ip": address} for address in addresses]
    return {"spec": {"type": kind, "ipFamilies": ["IPv4"], **spec}, "status": {"loadBalancer": {"ingress": ingress}}}


@pytest.mark.parametrize(
    ("services", "decided"),
    [
        pytest.param([service()], [[FIRST]], id="new"),
        pytest.param([service(), service()], [[FIRST], [SECOND]], id="two-new"),
        pytest.param([service(FIRST), service()], [[SECOND]], id="taken-addresses-stay"),
        pytest.param([service(FIRST)], [], id="nothing-to-do"),
        pytest.param([service(ipFamilies=["IPv4", "IPv6"])], [[FIRST, "2001:2::1:1"]], id="both-families"),
        pytest.param([service(FIRST, ipFamilies=["IPv6"])], [["2001:2::1:1"]], id="another-family"),
        pytest.param([service(FIRST, kind="ClusterIP")], [[]], id="released"),
        pytest.param([service(FIRST, kind="ClusterIP"), service()], [[], [FIRST]], id="free-again"),
        pytest.param([service(kind="NodePort")], [], id="another-type"),
        pytest.param([service(loadBalancerClass="example.com/mine")], [], id="another-controller"),
        pytest.param([service(loadBalancerIP="198.18.255.200")], [["198.18.255.200"]], id="asked-for"),
    ],
)
def test_decisions(services: list[dict[str, Any]], decided: list[list[str]]) -> None:
    assert [addresses for _, addresses in decide(LAYOUT, services)] == decided
