"""Who checks whom: three near each endpoint, the same on every replica, moving only what must; what they come to."""

from __future__ import annotations

import time
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.compile.probers import PROBERS, assign, judge, probed, unchecked
from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.health_check import MeshCheck, MeshHealthCheck
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.services import MeshBackend, MeshEndpoint, MeshPort, MeshService
from sidewinder_operator.mesh.workloads import MeshWorkload
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot.checks import MOST_CHECKS, key

CHECK = MeshHealthCheck(path="/healthz", statuses=(200,), interval=5.0, timeout=1.0, healthy=2, unhealthy=3)
WEB = "shop/web:80"


def workload(name: str, namespace: str = "shop", zone: str = "", **more: object) -> MeshWorkload:
    fields = {"outbound": 15001, **more}
    return MeshWorkload(id=name, kind="Pod", namespace=namespace, name=name, uid=name, zone=zone, **fields)  # type: ignore[arg-type]


def endpoint(uid: str, zone: str = "", ready: bool = True) -> MeshEndpoint:
    return MeshEndpoint(uid=uid, address="10.0.0.1", port=8080, zone=zone, ready=ready)


def web(*endpoints: MeshEndpoint, check: MeshHealthCheck | None = CHECK, protocol: str = "") -> Mesh:
    """A mesh with one Service, still without anybody who runs."""
    port = MeshPort(name=WEB, port=80, protocol=protocol, endpoints=endpoints)  # type: ignore[arg-type]
    service = MeshService(
        namespace="shop", name="web", ports=(port,), origin=Origin(Reference("Service", "shop", "web"))
    )
    backend = MeshBackend(name=WEB, service="shop/web", endpoints=WEB, health_check=check)
    return Mesh(services={"shop/web": service}, backends={WEB: backend})


def given_to(mesh: Mesh, *workloads: MeshWorkload) -> dict[str, set[str]]:
    """Endpoint's uid → its probers."""
    found: dict[str, set[str]] = {}
    for id_, checks in assign({each.id: each for each in workloads}, mesh.services, mesh.backends).items():
        for check in checks:
            for each in check.endpoints:
                found.setdefault(each.uid, set()).add(id_)
    return found


def many(count: int, zone: str = "") -> list[MeshWorkload]:
    return [workload(f"pod-{number}", zone=zone) for number in range(count)]


def test_without_a_section_nobody_checks_anything() -> None:
    mesh = web(endpoint("a"), check=None)
    assert assign({"x": workload("x")}, mesh.services, mesh.backends) == {}
    assert probed(mesh, {}) is mesh


def test_an_endpoint_has_three_however_many_call_it() -> None:
    for count in (3, 30, 300):
        (found,) = given_to(web(endpoint("a")), *many(count)).values()
        assert len(found) == PROBERS


def test_nobody_checks_itself() -> None:
    names = [each.id for each in many(4)]
    found = given_to(web(*(endpoint(name) for name in names)), *many(4))
    assert found == {name: set(names) - {name} for name in names}


@pytest.mark.parametrize(
    "unable",
    [
        pytest.param(workload("x", outbound=0), id="no sidecar of ours"),
        pytest.param(workload("x", ready=False), id="not ready"),
        pytest.param(workload("x", terminating=True), id="leaving"),
    ],
)
def test_who_cannot_check(unable: MeshWorkload) -> None:
    assert given_to(web(endpoint("a")), unable) == {}
    assert given_to(web(endpoint("a")), unable, workload("y")) == {"a": {"y"}}


def test_the_nearest_are_taken() -> None:
    here, there, far = many(5, "zone-a"), [workload(f"b-{n}", zone="zone-b") for n in range(5)], workload("f", "lab")
    found = given_to(web(endpoint("a", "zone-a"), endpoint("b", "zone-c")), *here, *there, far)
    assert found["a"] <= {each.id for each in here}
    assert len(found["b"]) == 3
    assert "f" not in found["b"], "of another namespace only where nobody is at home"
    assert given_to(web(endpoint("a", "zone-a")), here[0], *there[:2], far)["a"] == {"pod-0", "b-0", "b-1"}
    assert given_to(web(endpoint("a"), endpoint("b")), workload("b"), far) == {"a": {"b"}, "b": {"f"}}


def test_who_is_not_ready_is_not_checked() -> None:
    assert given_to(web(endpoint("a", ready=False), endpoint("b")), *many(3)) == {"b": {"pod-0", "pod-1", "pod-2"}}


def test_who_comes_or_goes_moves_only_what_is_his() -> None:
    mesh = web(*(endpoint(f"e-{number}") for number in range(200)))
    before, after = given_to(mesh, *many(40)), given_to(mesh, *many(41))
    moved = sum(len(after[uid] - before[uid]) for uid in before)
    assert all(after[uid] - before[uid] <= {"pod-40"} for uid in before)
    assert 0 < moved < 60, "its share is 15 of 600"


def test_the_work_is_shared() -> None:
    mesh = web(*(endpoint(f"e-{number}") for number in range(1000)))
    load = Counter(prober for found in given_to(mesh, *many(100)).values() for prober in found)
    assert len(load) == 100
    assert max(load.values()) < 100, "30 on average"


def test_nobody_gets_more_than_he_can_do() -> None:
    mesh = web(*(endpoint(f"e-{number}") for number in range(2 * MOST_CHECKS)))
    found = given_to(mesh, *many(5))
    load = Counter(prober for probers_ in found.values() for prober in probers_)
    assert set(load.values()) == {MOST_CHECKS}
    assert sum(load.values()) == 5 * MOST_CHECKS


@pytest.mark.parametrize(
    ("workloads", "missing"),
    [
        pytest.param([], {WEB: 2}, id="nobody"),
        pytest.param([workload("a")], {WEB: 1}, id="one, who cannot check itself"),
        pytest.param(many(1), {}, id="one"),
    ],
)
def test_who_has_nobody_is_told(workloads: list[MeshWorkload], missing: dict[str, int]) -> None:
    mesh = web(endpoint("a"), endpoint("b"), endpoint("c", ready=False))
    mesh = probed(msgspec.structs.replace(mesh, workloads={each.id: each for each in workloads}), {})
    assert unchecked(mesh) == missing


def test_a_port_of_tcp_is_only_connected_to() -> None:
    mesh = web(endpoint("a"), protocol="TCP")
    ((check,),) = assign({"x": workload("x")}, mesh.services, mesh.backends).values()
    assert (check.section.path, check.section.statuses, check.section.interval) == ("", (), 5.0)
    assert check.authority == "web.shop:80"


def test_ten_thousand_choices_cost_little() -> None:
    mesh = web(*(endpoint(f"e-{number}") for number in range(1000)))
    workloads = {each.id: each for each in many(2000)}
    began = time.process_time()
    assign(workloads, mesh.services, mesh.backends)
    assert time.process_time() - began < 1.0, "30 ms on a machine at rest"


def test_nor_do_they_where_there_are_too_few_who_could() -> None:
    """Each endpoint walked past everybody who had enough to do: 0.7 s, with every turn."""
    mesh = web(*(endpoint(f"e-{number}") for number in range(10_000)))
    workloads = {each.id: each for each in (*many(50), *(workload(f"x-{number}", "lab") for number in range(20)))}
    best = 1e9
    for _ in range(5):  # a busy machine makes one slow, but hardly all
        began = time.process_time()
        checks = assign(workloads, mesh.services, mesh.backends)
        best = min(best, time.process_time() - began)
    assert best < 0.5, "80 ms on a machine at rest"
    assert [sum(len(each.endpoints) for each in of) for of in checks.values()] == [MOST_CHECKS] * 70


# ── verdicts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def healthy(mesh: Mesh, checks: dict[str, tuple[MeshCheck, ...]], verdicts: dict[str, dict[str, bool]]) -> bool:
    (service,) = judge(mesh.services, checks, verdicts).values()
    return service.ports[0].endpoints[0].healthy


NAME = key(WEB, "a", "10.0.0.1", 8080)


@given(st.dictionaries(st.sampled_from(("pod-0", "pod-1", "pod-2", "stranger")), st.booleans() | st.none()))
def test_most_of_those_who_have_spoken_decide(said: dict[str, bool | None]) -> None:
    mesh = web(endpoint("a"))
    checks = assign({each.id: each for each in many(3)}, mesh.services, mesh.backends)
    verdicts = {id_: {} if verdict is None else {NAME: verdict} for id_, verdict in said.items()}
    votes = [verdict for id_, verdict in said.items() if verdict is not None and id_ != "stranger"]
    assert healthy(mesh, checks, verdicts) == (votes.count(False) <= votes.count(True))


def test_a_verdict_on_somebody_else_says_nothing_and_changes_nothing() -> None:
    mesh = web(endpoint("a"))
    checks = assign({"x": workload("x")}, mesh.services, mesh.backends)
    other = key(WEB, "b", "10.0.0.1", 8080)
    assert judge(mesh.services, checks, {"x": {other: False}})["shop/web"] is mesh.services["shop/web"]


def test_a_mesh_with_verdicts_changes_nobodys_checks() -> None:
    """Or an unhealthy endpoint would shake all its probers."""
    runs = web(endpoint("a"), endpoint("b"))
    mesh = msgspec.structs.replace(runs, workloads={each.id: each for each in many(3)})
    said = {each.id: {NAME: False} for each in many(3)}
    before, after = probed(mesh, {}), probed(mesh, said)
    assert before.checks == after.checks
    assert [each.healthy for each in after.services["shop/web"].ports[0].endpoints] == [False, True]
