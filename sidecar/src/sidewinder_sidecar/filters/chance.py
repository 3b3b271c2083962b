"""So many of so many requests, at places that nobody can foresee. Asked once per request by the mirror and the fault.

Of each block of `denominator` requests exactly `numerator` are chosen (Knuth's selection sampling, TAOCP 3.4.2,
algorithm S): the share is exact over any number of blocks, as a rule's weights are, and no rhythm of requests falls in
step with it. Nothing is kept but where in the block we are.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from random import random


class Chance:
    """`drawn()` says whether this request is one of them."""

    __slots__ = ("_block", "_hits", "_left", "_owed", "_random")

    def __init__(self, numerator: int, denominator: int, draw: Callable[[], float] = random) -> None:
        """Raises ValueError for what is no share."""
        if denominator < 1 or not 0 <= numerator <= denominator:
            raise ValueError(f"{numerator} of {denominator} is no share: 0 to as many as there are can be chosen")
        divisor = gcd(numerator, denominator)
        self._hits = numerator // divisor
        self._block = denominator // divisor
        self._left = self._block
        self._owed = self._hits
        self._random = draw

    def drawn(self) -> bool:
        """Whether it is chosen."""
        left, owed = self._left, self._owed
        if left == 0:
            left, owed = self._block, self._hits
        chosen = owed > 0 and self._random() * left < owed
        self._left = left - 1
        self._owed = owed - 1 if chosen else owed
        return chosen

    def __repr__(self) -> str:
        return f"<Chance {self._hits}/{self._block}>"
