"""What is said where no cluster can run, with a pytest that stands in for a whole run."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.cluster import conftest
from tests.cluster.support import cluster as clusters


class Item:
    """A collected test."""

    def __init__(self, *markers: str) -> None:
        self.markers = list(markers)

    def get_closest_marker(self, name: str) -> bool:
        return name in self.markers

    def add_marker(self, marker: pytest.MarkDecorator) -> None:
        self.markers.append(marker.name)


class Config:
    def __init__(self) -> None:
        self.stash = pytest.Stash()


class Reporter:
    """The end of the terminal's output."""

    def __init__(self) -> None:
        self.text = ""

    def section(self, title: str, **_: object) -> None:
        self.text += title + "\n"

    def line(self, line: str) -> None:
        self.text += line + "\n"


def collected(items: list[Item]) -> Config:
    config = Config()
    conftest.pytest_collection_modifyitems(cast(pytest.Config, config), cast(Any, items))
    return config


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "choose", lambda environment: clusters.Choice(reason="bed: root is needed"))
    monkeypatch.delenv("CLUSTER", raising=False)


def test_the_tests_that_do_not_run_are_counted_with_the_reason(nowhere: None) -> None:
    items = [Item("cluster"), Item(), Item("cluster")]
    reporter = Reporter()
    conftest.pytest_terminal_summary(cast(Any, reporter), cast(pytest.Config, collected(items)))
    assert [item.markers for item in items] == [["cluster", "skip"], [], ["cluster", "skip"]]
    assert "NOT RUN" in reporter.text
    assert "2 tests on a real cluster were not run: bed: root is needed" in reporter.text
    assert "docs/development.md" in reporter.text


def test_a_cluster_that_was_named_must_be_there(nowhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "bed")
    with pytest.raises(pytest.UsageError, match="CLUSTER=bed cannot run here: bed: root is needed"):
        collected([Item("cluster")])


def test_a_run_without_cluster_tests_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(environment: object) -> clusters.Choice:
        raise AssertionError("nobody needs to know")

    monkeypatch.setattr(clusters, "choose", asked)
    reporter = Reporter()
    conftest.pytest_terminal_summary(cast(Any, reporter), cast(pytest.Config, collected([Item()])))
    assert reporter.text == ""
