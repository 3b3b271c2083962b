"""What holds for every test run: how hard properties search (support/examples.py), and who needs a second try is told
(support/unsteady.py).
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from tests.support import examples
from tests.support.unsteady import Unsteady

examples.load()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Unsteady(), "sidewinder-unsteady")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nine thousand tests and what they import stay to the end: the collector need not walk over them, a third of it
    all. What is garbage of a test is found as ever.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
