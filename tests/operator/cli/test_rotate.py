"""Asking for another root, and following what the operator says of it."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
from typing import Any

import pytest
from rich.console import Console

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.root import Trust, fingerprint
from sidewinder_operator.authority.rotation import PROGRESS, REQUEST
from sidewinder_operator.cli import rotate
from sidewinder_operator.cli.console import Voice

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
FIRST, SECOND = roots.create("cluster.local", NOW), roots.create("cluster.local", NOW)


class Cluster:
    """A Secret, and an operator that takes a step whenever somebody looks."""

    def __init__(self, *steps: dict[str, str], there: bool = True) -> None:
        self.annotations: dict[str, str] = {}
        self.steps = [*steps]
        self.there = there
        self.patches: list[Any] = []

    def find(self, path: str) -> Any | None:
        assert path == "/api/v1/namespaces/sys/secrets/sidewinder-ca"
        if not self.there:
            return None
        if self.annotations.get(REQUEST) and self.steps:
            progress = {"request": self.annotations[REQUEST], **self.steps.pop(0)}
            self.annotations[PROGRESS] = json.dumps(progress)
        data = {name: base64.b64encode(text).decode() for name, text in roots.dump(Trust(FIRST, SECOND)).items()}
        return {"metadata": {"annotations": self.annotations}, "data": data}

    def patch(self, kind: str, namespace: str, name: str, body: Any) -> None:
        assert (kind, namespace, name) == ("secret", "sys", "sidewinder-ca")
        self.patches.append(body)
        self.annotations |= body["metadata"]["annotations"]


STEPS = (
    {"stage": "announced"},
    {"stage": "announced", "waits": "1 of 3 proxies: shop/a"},
    {"stage": "announced", "waits": "1 of 3 proxies: shop/a"},
    {"stage": "switched"},
    {"stage": "done"},
)


def follow(cluster: Cluster, seconds: float = 100.0) -> tuple[bool, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    clock = [0.0]

    def sleep(pause: float) -> None:
        clock[0] += pause

    done = rotate.follow(
        cluster, "sys", seconds, lambda each: told.append((each.stage, each.waits)), now=lambda: clock[0], sleep=sleep
    )
    return done, told


def test_it_is_asked_for_once_and_each_change_is_told() -> None:
    cluster = Cluster(*STEPS)
    rotate.ask(cluster, "sys", NOW)
    assert cluster.patches == [{"metadata": {"annotations": {REQUEST: "2030-01-01T00:00:00.000000Z"}}}]
    assert follow(cluster) == (
        True,
        [("announced", ""), ("announced", "1 of 3 proxies: shop/a"), ("switched", ""), ("done", "")],
    )


def test_what_is_under_way_is_only_followed() -> None:
    cluster = Cluster(*STEPS)
    rotate.ask(cluster, "sys", NOW)
    rotate.ask(cluster, "sys", NOW + dt.timedelta(minutes=1))
    assert len(cluster.patches) == 1
    assert follow(cluster)[0]
    rotate.ask(cluster, "sys", NOW + dt.timedelta(minutes=2))
    assert len(cluster.patches) == 2


def test_the_time_is_bounded() -> None:
    cluster = Cluster({"stage": "announced"})
    rotate.ask(cluster, "sys", NOW)
    assert follow(cluster, 10.0) == (False, [("announced", "")])


def test_the_progress_of_another_request_is_none_of_this_one() -> None:
    cluster = Cluster()
    cluster.annotations = {REQUEST: "new", PROGRESS: '{"request":"old","stage":"done"}'}
    assert follow(cluster, 0.0) == (False, [("", "")])


def test_no_ca_is_told() -> None:
    with pytest.raises(rotate.Absent, match="sidewinder check"):
        rotate.look(Cluster(there=False), "sys")


def test_the_status_names_roots_and_stage_and_no_key() -> None:
    text = io.StringIO()
    voice = Voice(Console(file=text, width=200), Console(file=text, width=200))
    cluster = Cluster(*STEPS[1:2])
    rotate.show(rotate.look(cluster, "sys"), voice)
    cluster.annotations[REQUEST] = "one"
    rotate.show(rotate.look(cluster, "sys"), voice)
    said = text.getvalue()
    assert f"signing: {fingerprint(FIRST.certificate)} until 2039-12-30" in said
    assert f"next: {fingerprint(SECOND.certificate)} until" in said
    assert "no rotation was asked for" in said
    assert "1 of 3: the next root is announced" in said
    assert "waits for 1 of 3 proxies: shop/a" in said
    assert "KEY" not in said
