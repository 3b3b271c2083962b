"""A share of traffic as users write it: `percent`, or `fraction` for what a percent is too much of.

Source: the Gateway API's Fraction. `of` reads either as a numerator and a denominator.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.meta import Strict

# Without CEL, like all rules of a filter's payload: sixteen filters of sixteen backends of sixteen rules are beyond its
# budget.


SharePercent: TypeAlias = Annotated[
    int, Meta(ge=0, le=100, extra={"right": "a whole number from 0 to 100 (for less than 1: `fraction`)"})
]


class Fraction(Strict, frozen=True, kw_only=True):
    """So many of so many."""

    numerator: Annotated[int, Meta(ge=0, le=1_000_000, description="How many are chosen.")]
    denominator: Annotated[int, Meta(ge=1, le=1_000_000, description="Of how many.")] = 100

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: self.numerator <= self.denominator,
            "not more can be chosen than there are: numerator must not be larger than denominator",
            field="numerator",
        ),
    )


ONE_SHARE: Rule = holds(
    lambda self: self.percent is None or self.fraction is None,
    "a share is one of percent and fraction, and not both",
    field="fraction",
)
SHARE_REQUIRED: Rule = holds(
    lambda self: self.percent is not None or self.fraction is not None,
    "percent or fraction says how many requests; all of them are percent: 100",
    field="percent",
    reason="Required",
)


def of(percent: int | None, fraction: Fraction | None) -> tuple[int, int]:
    """A numerator and a denominator; without either, all."""
    if fraction is not None:
        return fraction.numerator, fraction.denominator
    return (percent, 100) if percent is not None else (1, 1)
