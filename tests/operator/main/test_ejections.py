"""What proxies leave alone, in the status of the policies that have them do so: put together, bounded, believed only
of what a proxy calls."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.main import ejections
from sidewinder_operator.main.ejections import by_policy
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot.stream import Ejected
from tests.support.clusters import given

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: breaks, namespace: shop, uid: u1, generation: 1}
spec: {targetRefs: [{kind: Service, name: web}], circuitBreaker: {}}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: balances, namespace: shop, uid: u2, generation: 1}
spec: {targetRefs: [{kind: Service, name: web}], loadBalancing: {type: RoundRobin}}
"""
BREAKS = Reference("ApiPolicy", "shop", "breaks")


@pytest.fixture
def done() -> Any:
    return SimpleNamespace(compiled=compile_cluster(given(MANIFESTS).cluster, {}))


def having(*rows: Ejected, backend: str = "shop/web:80", has: bool = True) -> Having:
    return Having(versions={f"backend/{backend}": "1"} if has else {}, ejected={backend: rows})


def row(endpoint: str = "10.0.0.1:80", **more: Any) -> Ejected:
    return Ejected(**{"endpoint": endpoint, "state": "open", "since": 0.0, "until": 60.0, "why": "tests", **more})


def test_only_the_policy_with_the_breaker_tells_and_how_many_see_it(done: Any) -> None:
    found = by_policy(
        [having(row()), having(row(since=3600.0, until=7200.0, why="newer", state="half-open")), having()], done
    )
    assert found == {
        BREAKS: (
            {
                "backend": "shop/web:80",
                "endpoint": "10.0.0.1:80",
                "state": "open",
                "since": "1970-01-01T00:00:00Z",
                "until": "1970-01-01T02:00:00Z",
                "reason": "newer",
                "proxies": 2,
            },
        )
    }


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(Having(), id="nothing"),
        pytest.param(having(row(), has=False), id="of what it does not call"),
        pytest.param(having(row(), backend="shop/gone:80"), id="of what is gone"),
    ],
)
def test_what_is_not_told_on(told: Having, done: Any) -> None:
    assert by_policy([told], done) == {}
    assert by_policy([told], None) == {}


def test_it_has_an_end_and_a_wild_clock_is_no_harm(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ejections, "MOST", 2)
    told = having(*(row(f"10.0.0.{number}:80", until=1e300) for number in range(5)))
    rows = by_policy([told], done)[BREAKS]
    assert [each["endpoint"] for each in rows] == ["10.0.0.0:80", "10.0.0.1:80"]
    assert rows[0]["until"] == "1970-01-01T00:00:00Z"


def test_what_thousands_tell_of_hundreds_is_put_together_in_no_time(done: Any) -> None:
    rows = [row(f"10.0.{number // 250}.{number % 250}:80", since=float(number)) for number in range(200)]
    havings = [having(*rows) for _ in range(1000)]
    best = 1e9
    for _ in range(5):  # a busy machine makes one slow, but hardly all
        began = time.process_time()
        [found] = by_policy(havings, done).values()
        best = min(best, time.process_time() - began)
    assert best < 0.25, "the loop of the operator waits for it: 40 ms, where nobody else runs"
    assert (len(found), {each["proxies"] for each in found}) == (ejections.MOST, {1000})


def test_the_first_by_name_are_told_of_all_backends_together(done: Any) -> None:
    rows = [row(f"10.0.0.{number}:80") for number in range(100, 200)]
    [found] = by_policy(
        [having(*reversed(rows)), having(rows[0]), having(rows[50], backend="shop/web:81")], done
    ).values()
    assert [each["endpoint"] for each in found] == [each.endpoint for each in rows[: ejections.MOST]]
    assert [each["proxies"] for each in found] == [2] + [1] * (ejections.MOST - 1)
