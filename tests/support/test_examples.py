"""How many examples there are, and what of a machine is tried again."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.errors import FlakyStrategyDefinition

from tests.support.examples import FEWEST, WHOLE, examples, share, whatever_the_order


def test_examples_and_what_is_large_follow_the_profile() -> None:
    profile = settings.default.max_examples
    assert examples(400).max_examples == 4 * profile
    assert examples(FEWEST).max_examples == max(FEWEST, FEWEST * profile // WHOLE)
    assert examples(3).max_examples == max(3, 3 * profile // WHOLE)
    assert share(10_000) == 100 * min(profile, WHOLE)


def test_no_example_has_a_deadline() -> None:
    assert examples(100).deadline is None
    assert settings.default.deadline is None


class Machine:
    """Ends in these ways, one after the other; nothing is well."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = [*ends]

    def run(self) -> None:
        if (end := self.ends.pop(0)) is not None:
            raise end


FLAKY = FlakyStrategyDefinition("another choice")


def test_another_order_is_tried_again_but_not_for_ever() -> None:
    machine = Machine(FLAKY, FLAKY, None)
    whatever_the_order(machine.run)
    assert machine.ends == []
    with pytest.raises(FlakyStrategyDefinition):
        whatever_the_order(Machine(FLAKY, FLAKY, FLAKY).run)


def test_a_fault_is_told_at_once() -> None:
    with pytest.raises(AssertionError, match="a fault"):
        whatever_the_order(Machine(AssertionError("a fault"), None).run)
    with pytest.raises(AssertionError, match="a fault"):
        whatever_the_order(Machine(FLAKY, AssertionError("a fault"), None).run)
