"""`make bench-discovery`: what its figures mean. The run itself is tests/cluster/test_mesh_scale.py."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.scale import world
from benchmarks.scale.bench import Figures, percentile, wanted
from sidewinder_operator.apiserver import ApiServer

SIZE = world.Size(namespaces=3, services=12, pods=24)


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 3.0), (99, 5.0), (100, 5.0)])
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile([5.0, 1.0, 4.0, 2.0, 3.0], percent) == value


def test_a_row_tells_each_and_the_last() -> None:
    row = Figures("a route", 2, [0.1, 0.2, 0.3, 0.4], [0.2, 0.4], 0.05).line()
    assert row == "| a route | 2 | 300 ms | 400 ms | 200 ms | 400 ms | 50 ms |"


def test_every_namespace_has_its_share() -> None:
    names = [*SIZE.names()]
    assert len(set(names)) == SIZE.services
    assert {space: sum(one == space for one, _ in names) for space, _ in names} == {f"team-{n}": 4 for n in range(3)}


def test_a_sidecar_wants_nothing_of_its_own_namespace() -> None:
    pods = [world.Pod(f"uid-{number}", f"team-{number % 3}") for number in range(24)]
    calls = wanted(SIZE, pods, 5)
    assert all(len(set(each)) == 5 for each in calls)
    assert all(space != pod.namespace for pod, each in zip(pods, calls, strict=True) for space, _ in each)


def test_no_change_looks_like_the_one_before() -> None:
    api = ApiServer("http://127.0.0.1:1")
    for change in (world.route_change, world.policy_change, world.endpoint_change):
        seen = [change(api, number, SIZE)[:2] for number in range(6)]
        assert all(one != other for one, other in itertools.pairwise(seen))
