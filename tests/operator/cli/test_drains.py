"""How proxies have left, as `up` or the operator's replicas were told it, for people and machines."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidewinder_operator.cli import drains
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.kubectl import Unreachable

NOW = 1_700_000_000.0


def told(who: str, at: float = NOW - 5, **report: Any) -> dict[str, Any]:
    return {"who": who, "at": at, "report": {"drained": 0.5, "leaving": 1.0, **report}}


class Cluster:
    """The operator's replicas by name, with what each answers; and pods that are none."""

    def __init__(self, **pages: Any) -> None:
        self.pages = pages
        self.asked: list[str] = []

    def items(self, path: str) -> list[dict[str, Any]]:
        assert path == "/api/v1/namespaces/mesh/pods"
        found = [(name, {"app.kubernetes.io/component": "operator"}, "Running") for name in self.pages]
        found += [("test", {"app.kubernetes.io/component": "test"}, "Running"), ("bare", {}, "Running")]
        found += [("gone", {"app.kubernetes.io/component": "operator"}, "Failed")]
        return [
            {"metadata": {"name": name, "labels": labels}, "status": {"phase": phase}} for name, labels, phase in found
        ]

    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any:
        self.asked.append(f"{namespace}/{pod}:{port}{path}")
        return self.pages[pod]


def said(found: tuple[drains.Drain, ...], capsys: pytest.CaptureFixture[str]) -> str:
    now = dt.datetime.fromtimestamp(NOW, dt.UTC)
    drains.show(found, now, Voice(Console(width=240), Console(stderr=True, width=240)))
    out, err = capsys.readouterr()
    return out + err


def test_all_replicas_are_asked_and_their_words_put_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(one=[told("shop/b", NOW - 2, requests=3, upgraded=1, connections=2)], two=[told("shop/a")])
    found = drains.in_cluster(cluster, "mesh")
    assert cluster.asked == ["mesh/one:8080/drainz", "mesh/two:8080/drainz"]
    lines = said(found, capsys).splitlines()
    assert [line.split()[0] for line in lines] == ["proxy", "shop/a", "shop/b"]
    assert "5 s ago" in lines[1]
    assert "not told" in lines[1]
    assert "waited for 3 requests (1 upgraded) on 2 connections" in lines[2]
    assert drains.is_well(found)


def test_who_kept_it_waiting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    one = {**told("shop/a"), "held": ["shop/b is not connected"]}
    text = said(drains.in_cluster(Cluster(one=[one]), "mesh"), capsys)
    assert "waited to be forgotten: shop/b is not connected" in text


def test_what_was_cut_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    found = drains.in_cluster(Cluster(one=[told("shop/a", cut_requests=2, retired=0.25)]), "mesh")
    assert not drains.is_well(found)
    text = said(found, capsys)
    assert "2 requests and 0 connections were cut" in text
    assert "0.250 s" in text
    assert json.loads(drains.as_json(found))[0]["report"]["cut_requests"] == 2


def test_nobody_has_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no proxy has ended" in said(drains.in_cluster(Cluster(one=[]), "mesh"), capsys)


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        pytest.param(Cluster(), "no operator runs in the namespace mesh", id="no-operator"),
        pytest.param(Cluster(one={"error": "?"}), "not like an operator of this version", id="another-version"),
    ],
)
def test_who_cannot_be_asked_is_said(cluster: Cluster, why: str) -> None:
    with pytest.raises(Unreachable, match=why):
        drains.in_cluster(cluster, "mesh")


def test_a_running_up_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drains.status, "ask", lambda state: json.dumps({"drains": [told("shop/a")]}).encode())
    assert [one.who for one in drains.in_up(tmp_path)] == ["shop/a"]
