"""Events of containers, one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.apps import events


def test_lines_are_appended_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS", str(tmp_path / "log"))
    monkeypatch.setenv("NAME", "sidecar")
    events.record("starts")
    events.say("preStop begins", 0.05, "preStop ends")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["what"] for line in lines] == ["starts", "preStop begins", "preStop ends"]
    assert {line["who"] for line in lines} == {"sidecar"}
    assert lines[2]["at"] - lines[1]["at"] >= 0.05


def test_without_a_file_it_only_tells(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("EVENTS", raising=False)
    events.say("one")
    assert json.loads(capsys.readouterr().out)["what"] == "one"
