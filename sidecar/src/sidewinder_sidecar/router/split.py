"""Weighted shares of a rule's requests: exact, in random order, without bursts.

A deck holds as many cards as the weights' sum (reduced), each share as many as its weight, shuffled anew every time
it is used up. So every deck is exact, what is off within one is less than the binomial law allows (drawing without
putting back), and neither other proxies nor requests that repeat in a rhythm fall in step with it. Weights whose sum
is larger than a deck may be leave a remainder, which is carried into the next deck: the long run stays exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from random import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.router.route import Share

LARGEST_DECK: Final = 128  # cards: percents fit, and a shuffle stays below 20 µs


class Split:
    """Hands out the next request's share. Its deck is a detail of order, not configuration: losing it costs nothing."""

    __slots__ = ("_deck", "_owed", "_parts", "_size", "_whole")

    def __init__(self, shares: Sequence[Share]) -> None:
        live = [share for share in shares if share.weight > 0]
        divisor = gcd(*(share.weight for share in live)) if live else 1
        total = sum(share.weight for share in live) // divisor
        self._size = min(total, LARGEST_DECK)
        self._parts = [(share, share.weight // divisor * self._size / total) for share in live]
        self._owed = [0.0] * len(live)
        self._deck: list[Share] = []
        even = total <= LARGEST_DECK
        self._whole = [share for share in live for _ in range(share.weight // divisor)] if even else []

    def draw(self) -> Share | None:
        """The next request's share; None when no share has a weight."""
        if not self._deck:
            if not self._parts:
                return None
            self._shuffle()
        return self._deck.pop()

    def _shuffle(self) -> None:
        deck = self._whole or self._carry()
        self._deck = sorted(deck, key=lambda card: random())  # a third of what random.shuffle costs, and as fair

    def _carry(self) -> list[Share]:
        """A deck of weights that do not come out even: what a share is owed goes into the next one."""
        owed = [left + part for left, (_, part) in zip(self._owed, self._parts, strict=True)]
        counts = [int(cards + 1e-9) for cards in owed]  # 2.9999999999 cards are three
        spare = self._size - sum(counts)
        for index in sorted(range(len(owed)), key=lambda i: counts[i] - owed[i])[:spare]:
            counts[index] += 1  # the largest remainders take what is left
        self._owed = [cards - count for cards, count in zip(owed, counts, strict=True)]
        return [share for (share, _), count in zip(self._parts, counts, strict=True) for _ in range(count)]

    def __repr__(self) -> str:
        parts = " ".join(f"{share.name or 'invalid'}={part / self._size:.4g}" for share, part in self._parts)
        return f"<Split {parts}>"
