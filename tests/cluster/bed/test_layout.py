"""The addresses of all possible beds lie in the benchmark ranges and nowhere on one another."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path

import pytest

from tests.cluster.bed.layout import BEDS, NODES, RANGES, Layout
from tests.cluster.bed.traces import differences


def parts(layout: Layout, family: int) -> list[str]:
    """Every subnet that a bed uses for something of its own."""
    nodes = ipaddress.ip_interface(f"{layout.host(family)}/{layout.prefix(family)}").network
    return [str(nodes), layout.all_pods(family), layout.services(family)]


@pytest.mark.parametrize("family", [4, 6])
def test_no_two_beds_share_an_address_and_none_leaves_the_range(family: int) -> None:
    everything = ipaddress.ip_network(RANGES[family])
    beds = [Layout(Path("/bed"), number, len(NODES), families=(4, 6)) for number in BEDS]
    subnets = [ipaddress.ip_network(part) for bed in beds for part in parts(bed, family)]
    assert all(subnet.subnet_of(everything) for subnet in subnets)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(subnets, 2))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("number", [BEDS[0], BEDS[-1]])
def test_each_part_lies_where_it_belongs(family: int, number: int) -> None:
    bed = Layout(Path("/bed"), number, len(NODES), families=(4, 6))
    nodes = ipaddress.ip_interface(f"{bed.host(family)}/{bed.prefix(family)}").network
    pods = ipaddress.ip_network(bed.all_pods(family))
    balancers = ipaddress.ip_network(bed.balancers(family))
    assert balancers.subnet_of(nodes)
    for node in bed.numbers:
        assert ipaddress.ip_address(bed.address(node, family)) in nodes
        assert ipaddress.ip_address(bed.address(node, family)) not in balancers
        assert ipaddress.ip_network(bed.pods(node, family)).subnet_of(pods)
    assert ipaddress.ip_address(bed.service(10, family)) in ipaddress.ip_network(bed.services(family))


def test_addresses_are_written_the_way_kubernetes_writes_them() -> None:
    bed = Layout(Path("/bed"), 0, 2, families=(4, 6))
    written = [bed.host(6), bed.address(2, 6), bed.service(10, 6), bed.address(2)]
    assert written == ["2001:2::1", "2001:2::12", "2001:2:0:7f::a", "198.18.255.12"]


def test_a_layout_survives_being_saved(tmp_path: Path) -> None:
    bed = Layout(tmp_path, 3, 2, "nftables", (4, 6), (17, "123"), (("helm", "/x/helm"),))
    bed.save()
    assert Layout.load(tmp_path) == bed
    assert bed.tool("helm") == "/x/helm"


def test_traces_of_other_beds_are_not_held_against_one() -> None:
    before = {"links": {"lo"}, "routes": set[str]()}
    mine = {"links": {"lo", "bed1", "bed1n2", "eth7"}, "routes": {"blackhole 198.18.0.0/15 metric 19801"}}
    found = differences(before, mine, 1)
    assert found == [
        "links: new bed1",
        "links: new bed1n2",
        "links: new eth7",
        "routes: new blackhole 198.18.0.0/15 metric 19801",
    ]
    assert differences(before, mine, 13) == ["links: new eth7"]
    assert differences(mine, before, 13) == ["links: gone eth7"]
