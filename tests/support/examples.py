"""How many examples a property is tried with, and which: a profile of hypothesis. tests/conftest.py loads `quick`.

Nothing here depends on chance or on load, but for `search`: the same tree tries the same examples each time, no
example has a deadline, and nobody is told that a busy machine makes them slowly. `--hypothesis-profile` names another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.errors import FlakyStrategyDefinition

# Of each hundred that a test asks for. `make test` takes the whole of them on one Python.
QUICK, WHOLE, SEARCH = 25, 100, 1000

FEWEST = 10  # fewer are no search at all

_STEADY: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def load() -> None:
    """The profiles, and the quick one; before a module with tests is imported, for `examples` asks which it is."""
    settings.register_profile("quick", max_examples=QUICK, derandomize=True, **_STEADY)
    settings.register_profile("whole", max_examples=WHOLE, derandomize=True, **_STEADY)
    settings.register_profile("search", max_examples=SEARCH, print_blob=True, **_STEADY)
    settings.load_profile("quick")


def examples(number: int, **more: Any) -> settings:
    """So many where a test wants another number than the hundred that it has by itself."""
    return settings(max_examples=max(min(number, FEWEST), number * settings.default.max_examples // 100), **more)


def share(number: int) -> int:
    """Of something large that a run searches in proportion: bytes, objects."""
    return number * min(settings.default.max_examples, WHOLE) // WHOLE


def whatever_the_order(run: Callable[[], None]) -> None:
    """Runs a machine, and again where the same steps did not lead to the same choices, twice at most.

    What the wheel holds for one moment is a set: it comes in the order of addresses in memory. That is what such a
    machine is about, but hypothesis gives up when what it had to choose from is not what it was. A fault that the
    machine finds is told as ever.
    """
    for _ in range(2):
        try:
            return run()
        except FlakyStrategyDefinition:
            continue
    run()
