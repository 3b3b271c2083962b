"""What a failure's report asks and says, with a cluster that stands in for one in trouble."""

from __future__ import annotations

import subprocess
from typing import Any, cast

from tests.cluster.bed.waiting import BedError
from tests.cluster.support import report
from tests.cluster.support.cluster import Cluster


class Troubled:
    """Answers some questions, refuses others, and lets one wait for ever."""

    def kubectl(self, *words: str, seconds: float) -> str:
        if "events" in words:
            return "Warning  BackOff  pod/a"
        if "describe" in words:
            raise BedError("connection refused")
        if "--output=wide" in words:
            raise subprocess.TimeoutExpired("kubectl", seconds)
        return "pod/a\npod/b" if words[0] == "get" else f"log of {words[1]}"

    def deaths(self) -> list[str]:
        return ["kubelet ended"]


def sections(cluster: Any) -> dict[str, str]:
    return dict(report.sections(cast(Cluster, cluster), "shop"))


def test_every_question_has_an_answer_or_says_why_not() -> None:
    told = sections(Troubled())
    assert told["shop: events"] == "Warning  BackOff  pod/a"
    assert told["shop: pods"] == "no answer: connection refused"
    assert told["shop: objects"].startswith("no answer: Command 'kubectl' timed out")
    assert told["shop: logs"] == "log of pod/a\nlog of pod/b"
    assert told["shop: components that ended"] == "kubelet ended"


def test_nothing_is_left_out_and_a_flood_is_cut_at_its_beginning() -> None:
    class Quiet(Troubled):
        def kubectl(self, *words: str, seconds: float) -> str:
            return "x" * report.WIDTH + "end" if "events" in words else ""

        def deaths(self) -> list[str]:
            return []

    told = sections(Quiet())
    assert set(told) == {"shop: events"}
    assert len(told["shop: events"]) == report.WIDTH
    assert told["shop: events"].endswith("end")
