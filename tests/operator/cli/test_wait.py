"""Live means: the generation that is there now is accepted and acknowledged by everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidewinder_operator.cli.wait import judge, look, wait, wanted
from sidewinder_operator.problems import Reference

REVIEWS = Reference("ApiRoute", "shop", "reviews")
ROUTES = "/apis/sidewinder.dev/v1alpha1/namespaces/shop/apiroutes"


def item(
    *, accepted: str = "True", programmed: str = "True", observed: int = 3, name: str = "reviews"
) -> dict[str, Any]:
    kinds = (("Accepted", accepted, "Conflicted"), ("Programmed", programmed, "Pending"))
    return {
        "metadata": {"name": name, "namespace": "shop", "generation": 3},
        "status": {
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": "why", "observedGeneration": observed}
                for kind, status, reason in kinds
            ]
        },
    }


class Cluster:
    """Lists that change from one question to the next."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        self.asked.append(path)
        yield from self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize(
    ("there", "live", "told"),
    [
        pytest.param(item(), True, "why", id="live"),
        pytest.param(None, False, "the cluster has no such object: apply it first", id="not there"),
        pytest.param(item(programmed="False"), False, "Pending: why", id="some proxies lack it"),
        pytest.param(item(accepted="False"), False, "Conflicted: why", id="not accepted"),
        pytest.param(
            item(observed=2), False, "nobody has looked at generation 3 yet: does an operator lead?", id="old"
        ),
        pytest.param({"metadata": {"name": "reviews", "generation": 3}}, False, "nobody has looked", id="no status"),
    ],
)
def test_how_an_object_stands(there: dict[str, Any] | None, live: bool, told: str) -> None:
    seen = judge(REVIEWS, there)
    assert seen.live is live
    assert seen.told.startswith(told)


def test_one_question_for_each_kind_and_namespace() -> None:
    cluster: Any = Cluster([item(), item(name="ratings")])
    ratings = Reference("ApiRoute", "shop", "ratings")
    assert [each.live for each in look(cluster, (REVIEWS, ratings))] == [True, True]
    assert cluster.asked == [ROUTES]


def test_it_asks_until_all_are_live() -> None:
    cluster: Any = Cluster([], [item(programmed="False")], [item()])
    told, slept = [], []
    assert wait(cluster, (REVIEWS,), 60, told.append, now=lambda: 0.0, sleep=slept.append) == []
    assert [each.reference for each in told] == [REVIEWS]
    assert len(slept) == 2


def test_what_is_not_live_in_time_is_said_with_its_reason() -> None:
    cluster: Any = Cluster([item(programmed="False")])
    time = iter((0.0, 1.0, 1.0, 61.0))
    behind = wait(cluster, (REVIEWS,), 60, lambda seen: None, now=lambda: next(time), sleep=lambda seconds: None)
    assert [(each.reference, each.told) for each in behind] == [(REVIEWS, "Pending: why")]


def test_routes_and_policies_of_a_folder_are_waited_for(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: reviews}
spec:
  parentRefs: [{kind: Service, name: reviews}]
  rules: [{name: all, backendRefs: [{name: reviews, port: 9080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: calm, namespace: other}
spec:
  targetRefs: [{kind: Namespace}]
  loadBalancing: {type: RoundRobin}
""")
    references, problems = wanted((tmp_path,), "shop")
    assert references == [Reference("ApiPolicy", "other", "calm"), REVIEWS]
    assert problems == []
