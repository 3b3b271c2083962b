"""pybreaker holds the state, is moved by three verbs, and tells the new state once."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import pybreaker
import pytest

from sidewinder_sidecar.resilience.circuit import State, circuit


def test_what_moves_it_is_told_once_and_held_by_the_storage():
    told: list[str] = []
    one = circuit("10.0.0.1:80", told.append)
    assert isinstance(one, pybreaker.CircuitBreaker)
    assert (one.name, one.current_state, told) == ("10.0.0.1:80", "closed", [])
    one.open()
    one.half_open()
    one.open()
    one.half_open()
    one.close()
    assert told == ["open", "half-open", "open", "half-open", "closed"]
    assert one.current_state == one.state.name == "closed"


def test_nothing_is_counted_there_and_no_wall_clock_is_kept():
    state = State()
    state.increment_counter()
    state.increment_success_counter()
    state.opened_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert (state.counter, state.success_counter, state.opened_at) == (0, 0, None)
    state.reset_counter()
    state.reset_success_counter()


@pytest.mark.parametrize(
    "module", ["sidewinder_sidecar.resilience.outlier", "sidewinder_sidecar.upstream.backend"], ids=["outlier", "all"]
)
def test_nobody_pays_for_it_without_a_policy(module: str) -> None:
    loaded = f"import sys, {module}; sys.exit('pybreaker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False, timeout=60).returncode == 0
