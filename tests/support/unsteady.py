"""Tests that needed a second try: remade from the ground up, told by name, and too many of them fail the run.

A plugin of pytest, registered by tests/conftest.py; beside pytest-rerunfailures, which does the trying
(`--reruns 1`, for the live and the cluster tests only). That one keeps the fixtures of a module over a second try: what
a first one has killed would stay dead. Here everything but the session's own is taken away first.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
import pytest_rerunfailures

# One or two in a run is a machine that was busy for a moment. More is a product or a suite that does not hold.
TOLERATED = 3
LINES = 60  # of the first failure's text: its end has the assertion


class Unsteady:
    """What needed a second try in this run, with the first failure's text."""

    def __init__(self) -> None:
        self.first: dict[str, str] = {}
        self._failed: set[str] = set()

    @property
    def told(self) -> dict[str, str]:
        """Those that passed in the end: the others are failures like any."""
        return {name: text for name, text in self.first.items() if name not in self._failed}

    @property
    def too_many(self) -> bool:
        return len(self.told) > TOLERATED

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """A second try begins on fixtures of its own, but for the session's. Before what a conftest does for a test."""
        if getattr(item, "execution_count", 1) > 1:
            self._take_away(item)
        return (yield)

    def _take_away(self, item: pytest.Item) -> None:
        """Ends the fixtures of the module. One that ends badly was what failed, most likely: it is told, not judged."""
        held = pytest_rerunfailures.suspended_finalizers
        state = item.session._setupstate
        state.stack.update(held)
        held.clear()
        try:
            state.teardown_exact(item.session)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001
            self.first[item.nodeid] = f"{self.first.get(item.nodeid, '')}\nthen its fixtures ended badly: {error!r}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if str(report.outcome) == "rerun":
            text = "\n".join(report.longreprtext.splitlines()[-LINES:])
            self.first.setdefault(report.nodeid, f"{report.when} failed:\n{text}")
        elif report.failed:
            self._failed.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.too_many and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.told:
            return
        terminalreporter.section("tests that needed a second try", sep="=", yellow=True)
        for name, text in self.told.items():
            terminalreporter.line(f"UNSTEADY: {name}")
            terminalreporter.line(text)
        if self.too_many:
            terminalreporter.line(
                f"{len(self.told)} tests needed a second try and {TOLERATED} may: the run has failed", red=True
            )
