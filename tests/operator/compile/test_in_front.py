"""What stands in front of a workload: from its annotations to its listeners, and never more than is said."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile import in_front
from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.compile.project import Projector
from sidewinder_operator.inject.annotations import ANNOTATIONS, PREFIX
from tests.support.clusters import given, running

HOPS = {
    "not said": (None, 0),
    "none": ("0", 0),
    "one": ("1", 1),
    "spaces": (" 2 ", 2),
    "the most": ("16", 16),
    "more": ("17", 0),
    "a sign": ("-1", 0),
    "a word": ("all", 0),
    "nothing": ("", 0),
    "other digits": ("١", 0),
    "many digits": ("0000001", 0),
}


@pytest.mark.parametrize(("text", "wanted"), HOPS.values(), ids=HOPS)
def test_who_cannot_be_counted_is_not_believed(text: str | None, wanted: int) -> None:
    assert in_front.hops({} if text is None else {in_front.TRUSTED_HOPS: text}) == wanted


PORTS = {
    "not said": (None, ()),
    "one": ("9080", (9080,)),
    "several": ("9443, 9080,9080,", (9080, 9443)),
    "no port": ("9080,0", ()),
    "too large": ("65536", ()),
    "a word": ("9080,https", ()),
    "too many": (",".join(map(str, range(1, 66))), ()),
}


@pytest.mark.parametrize(("text", "wanted"), PORTS.values(), ids=PORTS)
def test_ports_are_read_whole_or_not_at_all(text: str | None, wanted: tuple[int, ...]) -> None:
    assert in_front.ports({} if text is None else {in_front.PROXY_PROTOCOL: text}) == wanted


def test_the_table_of_annotations_has_them_and_reads_them_alike() -> None:
    rows = {PREFIX + row.name: row for row in ANNOTATIONS}
    hops, ports = rows[in_front.TRUSTED_HOPS], rows[in_front.PROXY_PROTOCOL]
    assert (hops.right, ports.right) == (in_front.HOPS_RIGHT, in_front.PORTS_RIGHT)
    assert hops.parse(hops.example) == in_front.hops({in_front.TRUSTED_HOPS: hops.example})
    assert ports.parse(ports.example) == in_front.ports({in_front.PROXY_PROTOCOL: ports.example})


PROCESS = """
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations: {sidewinder.dev/trusted-hops: "%s", sidewinder.dev/proxy-protocol: "%s"}
spec: {command: [web]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata:
  name: web-0
  namespace: shop
  uid: web-0
  annotations: {sidewinder.dev/trusted-hops: "2", sidewinder.dev/proxy-protocol: "9080,9443"}
spec:
  initContainers: [{name: sidewinder-proxy, restartPolicy: Always}]
  containers: [{name: web, ports: [{containerPort: 9080}]}]
status: {podIPs: [{ip: 10.0.0.7}], conditions: [{type: Ready, status: "True"}]}
"""


def listeners(text: str, identity: str) -> dict[str, tuple[int, tuple[int, ...]]]:
    found = given(text)
    runs = running(found.cluster, pods=found.pods)
    made = Projector(compile_cluster(found.cluster, running=runs).mesh).snapshot(identity)
    return {
        name.removeprefix("listener/"): (spec.trusted_hops, spec.proxy_protocol)  # type: ignore[union-attr]
        for name, spec in made.items()
        if name.startswith("listener/")
    }


def test_a_pods_listener_knows_its_ports() -> None:
    assert listeners(POD, "web-0") == {"inbound": (2, (9080, 9443)), "outbound": (16, ())}


def test_a_process_has_one_port_whatever_its_number() -> None:
    found = listeners(PROCESS % ("1", "80"), "LocalProcess/shop/web/0")
    assert found == {"inbound": (1, (15000,)), "outbound": (16, ())}


def test_nothing_said_changes_nothing() -> None:
    assert listeners(PROCESS % ("0", ""), "LocalProcess/shop/web/0") == {"inbound": (0, ()), "outbound": (0, ())}


def test_a_process_with_a_mistake_is_told_and_nobody_is_believed() -> None:
    text = PROCESS % ("many", "http")
    problems = compile_cluster(given(text).cluster).problems
    assert [(problem.field, problem.message) for problem in problems] == [
        (
            "metadata.annotations[sidewinder.dev/proxy-protocol]",
            "'http' is not at most 64 ports from 1 to 65535, with commas; until it is, nobody in front is believed",
        ),
        (
            "metadata.annotations[sidewinder.dev/trusted-hops]",
            "'many' is not a number of proxies from 0 to 16; until it is, nobody in front is believed",
        ),
    ]
    assert listeners(text, "LocalProcess/shop/web/0") == {"inbound": (0, ()), "outbound": (0, ())}
