"""Two proxies in a row, budgets, stickiness and the split, on real sockets."""

from __future__ import annotations

import http.client
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.sidecar import Backend, Sidecar, Snapshot, backend, sidecar, snapshot

pytestmark = pytest.mark.live

SERVICE = "shop/reviews:9080"
ONE_IN_A_MILLION = 4.9  # standard deviations: a two-sided bound at p = 1e-6


@contextmanager
def two(tmp_path: Path, **rule: Any) -> Iterator[tuple[Sidecar, int, list[Backend]]]:
    """A sidecar before two backends, named v1 and v2 in `rule`'s backends."""
    with ExitStack() as stack:
        apps = [stack.enter_context(backend()), stack.enter_context(backend())]
        made = versions(snapshot(1, **rule), apps)
        proxy = stack.enter_context(sidecar(tmp_path, made))
        yield proxy, proxy.ready(), apps


def versions(made: Snapshot, apps: list[Backend]) -> Snapshot:
    for number, app in enumerate(apps, 1):
        one = {"uid": f"v{number}", "address": "127.0.0.1", "port": app.port}
        made[f"backend/v{number}"] = {"name": f"v{number}", "endpoints": f"v{number}"}
        made[f"endpoints/v{number}"] = {"name": f"v{number}", "endpoints": [one]}
    return made


def weights(first: int, second: int) -> list[dict[str, Any]]:
    return [{"backend": "v1", "weight": first}, {"backend": "v2", "weight": second}]


class Caller:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self, **headers: str) -> tuple[int, dict[str, str]]:
        self.connection.request("GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def test_the_split_stays_within_the_binomial_law_and_weight_zero_gets_nothing(tmp_path: Path) -> None:
    rules = [
        {"name": "zero", "matches": [{"headers": [{"name": "x-zero", "value": "1"}]}], "backends": weights(1, 0)},
        {"name": "split", "backends": weights(80, 20)},
    ]
    with two(tmp_path, rules=rules) as (proxy, port, apps):
        caller = Caller(port)
        count = 1500
        for turn in range(1, count + 1):
            assert caller.ask()[0] == 200
            off = abs(len(apps[1].asked) - turn * 0.2)
            assert off <= ONE_IN_A_MILLION * math.sqrt(turn * 0.16) + 1, (turn, off)
        before = len(apps[1].asked)
        for _ in range(300):
            assert caller.ask(x_zero="1")[0] == 200
        assert len(apps[1].asked) == before
        caller.connection.close()
        counted = re.findall(r'sidewinder_requests_total\{[^}]*rule="split"[^}]*\} (\d+)', proxy.metrics())
        assert sum(map(int, counted)) == count


def test_a_cookie_stays_until_its_backend_has_no_weight(tmp_path: Path) -> None:
    sticky = {"type": "Cookie", "name": "release"}
    with two(tmp_path, stickiness=sticky, backends=weights(50, 50)) as (_, port, apps):
        caller = Caller(port)
        _, first = caller.ask()
        cookie, where = first["set-cookie"].partition(";")[0], [len(app.asked) for app in apps].index(1)
        for _ in range(100):
            status, answer = caller.ask(Cookie=cookie)
            assert (status, answer.get("set-cookie")) == (200, None)
        assert len(apps[where].asked) == 101
        caller.connection.close()
    only = weights(*([0, 1] if where == 0 else [1, 0]))
    (tmp_path / "after").mkdir()
    with two(tmp_path / "after", stickiness=sticky, backends=only) as (_, port, apps):
        caller = Caller(port)
        status, answer = caller.ask(Cookie=cookie)
        assert status == 200
        assert answer["set-cookie"].partition(";")[0] != cookie
        assert len(apps[1 - where].asked) == 1
        caller.connection.close()


def test_a_header_moves_only_the_changed_share(tmp_path: Path) -> None:
    sticky = {"type": "Header", "name": "x-user"}
    chosen: list[dict[str, int]] = []
    for number, shares in enumerate((weights(90, 10), weights(70, 30))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with two(folder, stickiness=sticky, backends=shares) as (_, port, apps):
            caller = Caller(port)
            for user in range(400):
                assert caller.ask(x_user=f"user-{user}")[0] == 200
            caller.connection.close()
            chosen.append({dict(asked["headers"])["x-user"]: n for n, app in enumerate(apps) for asked in app.asked})
    moved = Counter((chosen[0][user], chosen[1][user]) for user in chosen[0])
    assert moved[1, 0] == 0, "nobody leaves the version that grows"
    assert abs(moved[0, 1] - 80) <= ONE_IN_A_MILLION * math.sqrt(400 * 0.2 * 0.8)


def test_a_budget_bounds_the_retries(tmp_path: Path) -> None:
    rule = {"retry": {"attempts": 3, "codes": [503], "backoff": 0.001}, "backends": [{"backend": SERVICE}]}
    with backend() as app:
        app.status = lambda path: 503
        made = snapshot(app.port, **rule)
        made[f"backend/{SERVICE}"]["budget"] = {"percent": 20, "interval": 10.0, "min_count": 1, "min_interval": 10.0}
        with sidecar(tmp_path, made) as proxy:
            caller = Caller(proxy.ready())
            statuses = {caller.ask()[0] for _ in range(200)}
            caller.connection.close()
            assert statuses == {503}
            assert 200 + 10 <= len(app.asked) <= 200 + 40 + 2, len(app.asked)
            assert any("retry budget" in line.get("detail", "") for line in proxy.log(200))


def test_a_retry_goes_to_another_endpoint(tmp_path: Path) -> None:
    with backend() as bad, backend() as good:
        bad.status = lambda path: 503
        made = snapshot(bad.port, retry={"attempts": 1, "codes": [503], "backoff": 0.001})
        made[f"endpoints/{SERVICE}"]["endpoints"].append({"uid": "b", "address": "127.0.0.1", "port": good.port})
        with sidecar(tmp_path, made) as proxy:
            caller = Caller(proxy.ready())
            assert {caller.ask()[0] for _ in range(15)} == {200}  # fewer than the budget's minimum
            caller.connection.close()
            assert len(good.asked) == 15
            assert bad.asked


def test_a_deadline_shrinks_over_two_hops_and_ends_on_time(tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "far").mkdir()
    with backend() as app, sidecar(tmp_path / "far", snapshot(app.port)) as far:
        near_route = snapshot(far.ready(), retry={"attempts": 2, "codes": [503], "backoff": 0.2, "max_backoff": 0.2})
        with sidecar(tmp_path / "near", near_route) as near:
            port = near.ready()
            statuses = [503, 503, 200]
            app.status = lambda path: statuses.pop(0) if path == "/twice" else 200
            answer = near.ask(port, "/twice", x_request_deadline="5s", grpc_timeout="4S")
            assert answer.status == 200
            left = [int(dict(asked["headers"])["x-request-deadline"].removesuffix("ms")) for asked in app.asked]
            assert len(left) == 3
            assert 4000 >= left[0] > left[1] - 1, left
            assert left[0] >= left[1] >= left[2] > 3000, left
            late = near.ask(port, "/slow", x_request_deadline="300ms")
            assert late.status == 504
            assert "sidewinder; error=" in late.headers["proxy-status"]
            app.release.set()


def test_no_backend_is_told_apart_from_none_that_is_healthy(tmp_path: Path) -> None:
    rules = [
        {"name": "none", "matches": [{"path": {"type": "Exact", "value": "/none"}}]},
        {"name": "sick", "backends": [{"backend": SERVICE}]},
    ]
    made = snapshot(1, rules=rules)
    made[f"endpoints/{SERVICE}"]["endpoints"][0]["ready"] = False
    with sidecar(tmp_path, made) as proxy:
        port = proxy.ready()
        told = {path: proxy.ask(port, path, Accept="application/json") for path in ("/none", "/sick")}
        assert {path: answer.status for path, answer in told.items()} == {"/none": 500, "/sick": 503}
        assert [json.loads(answer.body)["error"] for answer in told.values()] == ["no_backend", "no_endpoints"]
        lines = {line["path"]: line["flag"] for line in proxy.log(2)}
        assert lines == {"/none": "NC", "/sick": "UH"}
