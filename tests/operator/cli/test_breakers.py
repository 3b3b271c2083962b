"""What all proxies say of their breakers, put together: by how many of them an endpoint is left alone."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidewinder_operator.cli import breakers
from sidewinder_operator.cli.breakers import Seen, as_json, in_cluster, in_up, is_well, show
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.kubectl import Unreachable

NOW = 1_700_000_000.0


def opened(endpoint: str = "10.0.0.1:80", **more: Any) -> dict[str, Any]:
    told = {"uid": "u1", "state": "open", "since": NOW - 90, "until": NOW + 30, "why": "tests", "times": 1}
    return {"endpoint": endpoint, **told, **more}


def page(*found: dict[str, Any], backend: str = "shop/v1:80", **more: Any) -> dict[str, Any]:
    row = {"backend": backend, "service": "shop/v1", "endpoints": 3, "panicking": False, "ejections": 1}
    return {"since": 1.0, "backends": [{**row, "open": list(found), **more}]}


class Cluster:
    """Pods by name, with what the proxy of each answers."""

    def __init__(self, **pages: Any) -> None:
        self.pages = pages
        self.asked: list[str] = []

    def items(self, path: str) -> list[dict[str, Any]]:
        assert path == "/api/v1/pods"
        proxied = {"initContainers": [{"name": "sidewinder-proxy"}]}
        pods = [({"namespace": "shop", "name": name}, proxied, "Running") for name in self.pages]
        pods += [({"namespace": "shop", "name": "bare"}, {}, "Running")]
        pods += [({"namespace": "shop", "name": "job"}, proxied, "Succeeded")]
        return [{"metadata": meta, "spec": spec, "status": {"phase": phase}} for meta, spec, phase in pods]

    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any:
        self.asked.append(f"{namespace}/{pod}:{port}{path}")
        if isinstance(answer := self.pages[pod], Exception):
            raise answer
        return answer


def said(found: Seen, capsys: pytest.CaptureFixture[str]) -> str:
    show(found, dt.datetime.fromtimestamp(NOW, dt.UTC), Voice(Console(width=240), Console(stderr=True, width=240)))
    out, err = capsys.readouterr()
    return out + err


def test_an_endpoint_is_one_row_with_how_many_see_it(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(
        a=page(opened()),
        b=page(opened(since=NOW - 10, until=NOW + 99, why="newer", state="half-open")),
        c=page(),
    )
    found = in_cluster(cluster, "shop/v1")
    assert sorted(cluster.asked) == [f"shop/{name}:15000/breakers" for name in "abc"]
    [row] = found.open
    assert (row.state, row.since, row.until, row.why) == ("open", NOW - 90, NOW + 99, "newer")
    assert (row.seen, row.of, found.proxies) == (2, 3, 3)
    assert not is_well(found)
    told = said(found, capsys).splitlines()
    assert told[0].split() == ["backend", "endpoint", "state", "since", "until", "proxies", "why"]
    assert " ".join(told[1].split()) == "shop/v1:80 10.0.0.1:80 open 1 min ago in 1 min 2 of 3 newer"


@pytest.mark.parametrize(
    ("pages", "well", "told"),
    [
        pytest.param({"a": page()}, True, "no endpoint of shop/v1 is ejected by any of 1 proxies", id="well"),
        pytest.param(
            {"a": page(opened(), service="shop/other")},
            True,
            "none of 1 proxies has breakers or limits for shop/v1\n",
            id="of another Service",
        ),
        pytest.param(
            {"a": page(opened(), service="books/v1"), "b": page(service="toys/v1")},
            True,
            "limits for shop/v1; there are for books/v1 (-n books), toys/v1 (-n toys)",
            id="in another namespace",
        ),
        pytest.param({"a": page(opened(until=NOW - 1))}, False, "the next request", id="its time is over"),
        pytest.param({"a": page(panicking=True)}, False, "1 proxies use all endpoints of shop/v1:80", id="panic"),
        pytest.param(
            {"a": page(concurrency={"requests": 1, "refused": {"requests": 7, "pending": 0}})},
            True,
            "were refused since the proxies began: 7 by requests",
            id="refused",
        ),
        pytest.param({"a": Unreachable("nothing answers")}, False, "shop/a could not be asked: nothing", id="silent"),
        pytest.param({"a": {"what": 1}}, False, "not like a proxy of this version", id="another version"),
        pytest.param({}, True, "there is no proxy to ask", id="nobody"),
    ],
)
def test_what_is_said(pages: dict[str, Any], well: bool, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = in_cluster(Cluster(**pages), "shop/v1")
    assert is_well(found) is well
    assert told in said(found, capsys)


def test_no_more_than_a_bound_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers.doors, "MOST", 1)
    cluster = Cluster(a=page(), b=page())
    found = in_cluster(cluster, "")
    assert (len(cluster.asked), found.silent) == (1, {"shop/b": "only 1 proxies are asked"})


def test_of_a_running_up_every_proxy_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proxies = [{"name": "web", "ports": {"admin": 7}}, {"name": "way-in", "ports": {}}]
    monkeypatch.setattr(breakers.doors.status, "ask", lambda state: json.dumps({"proxies": proxies}).encode())
    monkeypatch.setattr(breakers.doors, "ask", lambda port, path: {7: page(opened())}[port])
    found = in_up(tmp_path, "")
    assert [row.endpoint for row in found.open] == ["10.0.0.1:80"]
    assert json.loads(as_json(found))["open"][0]["of"] == 1
