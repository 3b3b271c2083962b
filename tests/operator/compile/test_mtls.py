"""mtls: of several levels and Services which mode holds, never weaker than the mesh's; and what is told of it."""

from __future__ import annotations

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.compile.mtls import RANK, ROW, build, effective, named, spec, strictest, weaker
from sidewinder_operator.compile.sections import Scope
from sidewinder_operator.mesh.mtls import MeshMtls, Mode
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.mtls import Mtls
from sidewinder_sidecar.snapshot.policies import MtlsSpec
from tests.support.clusters import given


def section(mode: Mode, *ports: int, policy: str = "") -> MeshMtls:
    return MeshMtls(mode=mode, except_ports=ports, policy=policy)


def policy(name: str, target: str, mtls: str, namespace: str = "bookinfo") -> str:
    return f"""---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{targetRefs: [{{{target}}}], mtls: {{{mtls}}}}}
"""


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec: {selector: {app: reviews}, ports: [{port: 9080}]}
"""


def test_ports_are_sorted_and_stand_once() -> None:
    meant, faults = build(Mtls(mode="Strict", except_ports=(9091, 9090, 9091)), Cluster())
    assert meant == section("Strict", 9090, 9091)
    assert faults == ()


def test_it_acts_in_the_server() -> None:
    assert not ROW.client


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        pytest.param((None,), None, id="nothing"),
        pytest.param((section("Audit", 1),), section("Audit", 1), id="mesh-alone"),
        pytest.param((None, section("Strict"), section("Permissive")), section("Permissive"), id="most-specific"),
        pytest.param((None, section("Strict", 9090), section("Strict")), section("Strict"), id="the-whole-section"),
        pytest.param((None, section("Strict"), None), section("Strict"), id="gaps"),
        pytest.param(
            (section("Strict", policy="system/mesh"), section("Permissive", policy="shop/p")),
            section("Strict", policy="system/mesh"),
            id="never-weaker-than-the-mesh",
        ),
        pytest.param(
            (section("Strict", 1, policy="system/mesh"), section("Audit", 9090)),
            section("Strict", 9090, policy="system/mesh"),
            id="but-for-its-ports",
        ),
        pytest.param(
            (section("Audit"), section("Strict"), section("Permissive")), section("Audit"), id="floor-after-replacing"
        ),
        pytest.param((section("Audit"), section("Strict", 2)), section("Strict", 2), id="stricter"),
    ],
)
def test_what_holds_at_the_end_of_a_chain(levels: tuple[MeshMtls | None, ...], expected: MeshMtls | None) -> None:
    assert effective(levels) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(section("Audit"), section("Strict"), section("Strict"), id="the-stricter"),
        pytest.param(section("Strict"), section("Permissive"), section("Strict"), id="either-way"),
        pytest.param(section("Strict", 1, 2), section("Strict", 2, 3), section("Strict", 2), id="only-common-ports"),
        pytest.param(
            section("Strict", policy="a/a"), section("Strict", policy="a/b"), section("Strict", policy="a/a"), id="tie"
        ),
    ],
)
def test_of_two_services_the_stricter_holds(one: MeshMtls, other: MeshMtls, expected: MeshMtls) -> None:
    assert strictest(one, other) == expected


SECTIONS = st.builds(
    MeshMtls,
    mode=st.sampled_from(sorted(RANK)),
    except_ports=st.sets(st.integers(1, 4)).map(lambda ports: tuple(sorted(ports))),
    policy=st.sampled_from(["a/a", "b/b"]),
)


@given_(st.none() | SECTIONS, st.lists(st.none() | SECTIONS, max_size=3))
def test_nothing_below_makes_the_mesh_weaker(mesh: MeshMtls | None, below: list[MeshMtls | None]) -> None:
    found = effective((mesh, *below))
    if mesh is not None:
        assert found is not None
        assert RANK[found.mode] >= RANK[mesh.mode]
    said = {port for each in (mesh, *below) if each is not None for port in each.except_ports}
    assert found is None or set(found.except_ports) <= said, "only what somebody has written is left out"


@given_(SECTIONS, SECTIONS, SECTIONS)
def test_of_several_services_the_order_makes_no_difference(one: MeshMtls, two: MeshMtls, three: MeshMtls) -> None:
    orders = [
        strictest(strictest(one, two), three),
        strictest(one, strictest(three, two)),
        strictest(three, strictest(two, one)),
    ]
    assert len({(each.mode, each.except_ports) for each in orders}) == 1
    assert RANK[orders[0].mode] == max(RANK[each.mode] for each in (one, two, three))


def test_what_is_sent() -> None:
    assert spec(None) == MtlsSpec()
    assert spec(section("Strict", 9090, policy="bookinfo/zero-trust")) == MtlsSpec(
        mode="Strict", except_ports=(9090,), policy="bookinfo/zero-trust"
    )


def test_a_section_knows_its_policy() -> None:
    cluster = given(SERVICE + policy("zero-trust", "kind: Namespace", "mode: Strict")).cluster
    (applied,) = compile_cluster(cluster).attachments.on(ROW, Scope("Namespace", "bookinfo"))
    assert named(applied) == section("Strict", policy="bookinfo/zero-trust")


def test_who_asks_for_less_than_the_mesh_is_told() -> None:
    texts = (
        SERVICE,
        policy("mesh", "kind: Mesh", "mode: Strict", "sidewinder-system"),
        policy("lax", "kind: Service, name: reviews", "mode: Permissive, exceptPorts: [9090]"),
        policy("same", "kind: Namespace", "mode: Strict"),
    )
    told = list(weaker(compile_cluster(given(*texts).cluster).attachments))
    assert [(each.reference.name, each.field, each.reason, each.severity) for each in told] == [
        ("lax", "spec.mtls.mode", "Overridden", "Warning")
    ]
    assert told[0].message == (
        "Permissive on Service bookinfo/reviews is weaker than the mesh's Strict (ApiPolicy sidewinder-system/mesh), "
        "which holds: only exceptPorts leave ports out"
    )


def test_without_a_section_of_the_mesh_nothing_is_weaker() -> None:
    texts = (SERVICE, policy("lax", "kind: Service, name: reviews", "mode: Permissive"))
    assert list(weaker(compile_cluster(given(*texts).cluster).attachments)) == []
