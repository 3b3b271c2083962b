"""What holds for every test run: who needs a second try is told (support/unsteady.py)."""

from __future__ import annotations

import pytest

from tests.support.unsteady import Unsteady


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Unsteady(), "sidewinder-unsteady")
