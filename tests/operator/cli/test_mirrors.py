"""What all proxies say of their copies, added up: how many, how many differ, and the latest that do."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidewinder_operator.cli import doors
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.kubectl import Unreachable
from sidewinder_operator.cli.mirrors import MOST_SAMPLES, Seen, as_json, in_cluster, in_up, is_well, show
from tests.operator.cli.test_breakers import Cluster

NOW = 1_700_000_000.0


def sample(ago: float = 3.0, **more: Any) -> dict[str, Any]:
    return {"time": NOW - ago, "method": "GET", "path": "/[7]", "request_id": "id-7", **more}


def page(*samples: dict[str, Any], route: str = "shop/api", **more: Any) -> dict[str, Any]:
    one = {
        "route": route,
        "rule": "everyone",
        "backend": "shop/new:80",
        "copies": {"answered": 4},
        "compared": {"same": 4 - len(samples), "different": len(samples), "unsettled": 0},
        "differences": {"status": len(samples)} if samples else {},
        "samples": list(samples),
    }
    return {"mirrors": [one | more]}


def said(found: Seen, capsys: pytest.CaptureFixture[str]) -> str:
    show(found, dt.datetime.fromtimestamp(NOW, dt.UTC), Voice(Console(width=240), Console(stderr=True, width=240)))
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


def test_counts_are_added_up_and_the_latest_samples_kept() -> None:
    many = [sample(ago=100.0 + number) for number in range(MOST_SAMPLES)]
    found = in_cluster(
        Cluster(a=page(*many), b=page(sample(), copies={"answered": 1, "late": 2}), c={"mirrors": []}), "shop/api"
    )
    [one] = found.mirrors
    assert one.copies == {"answered": 5, "late": 2}
    assert one.compared == {"same": -1, "different": 9, "unsettled": 0}
    assert (len(one.samples), one.samples[-1].time, found.proxies) == (MOST_SAMPLES, NOW - 3, 3)
    assert not is_well(found)
    assert json.loads(as_json(found))["mirrors"][0]["differences"] == {"status": 9}


def test_what_differs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    differs = sample(
        status={"original": 200, "mirror": 404},
        headers=[{"name": "server", "original": "a", "mirror": None}],
        body={"original": 48, "mirror": 48},
    )
    told = said(in_cluster(Cluster(a=page(differs)), ""), capsys)
    assert "shop/api everyone shop/new:80 4 answered 3 1 1 status" in told
    expected = "3 s ago GET /[7] status 200 → 404; server: a → none; another body, 48 → 48 bytes (request id-7)"
    assert expected in told


@pytest.mark.parametrize(
    ("pages", "well", "told"),
    [
        pytest.param({"a": page()}, True, "4 answered 4 0 none", id="the same"),
        pytest.param(
            {"a": page(route="shop/other")}, True, "none of 1 proxies mirrors anything for shop/api", id="other"
        ),
        pytest.param({"a": page(route="books/api")}, True, "there are for books/api (-n books)", id="elsewhere"),
        pytest.param({"a": Unreachable("nothing answers")}, False, "shop/a could not be asked: nothing", id="silent"),
        pytest.param({"a": {"what": 1}}, False, "not like a proxy of this version", id="another version"),
        pytest.param({}, True, "there is no proxy to ask", id="nobody"),
    ],
)
def test_what_is_said(pages: dict[str, Any], well: bool, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = in_cluster(Cluster(**pages), "shop/api")
    assert is_well(found) is well
    assert told in said(found, capsys)


def test_of_a_running_up_every_proxy_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proxies = [{"name": "web", "ports": {"admin": 7}}, {"name": "way-in", "ports": {}}]
    monkeypatch.setattr(doors.status, "ask", lambda state: json.dumps({"proxies": proxies}).encode())
    monkeypatch.setattr(doors, "ask", lambda port, path: {(7, "/mirror"): page(sample())}[port, path])
    assert in_up(tmp_path, "").mirrors[0].samples[0].request_id == "id-7"
