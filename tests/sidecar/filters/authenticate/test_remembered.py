"""What was verified is found until it ends; bounded in number and size."""

from __future__ import annotations

from sidewinder_sidecar.filters.authenticate import remembered
from sidewinder_sidecar.filters.authenticate.remembered import MOST, MOST_BYTES, Remembered
from sidewinder_sidecar.filters.authenticate.verdict import Verified

ANN = Verified({"sub": "ann"}, "ann")


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_it_is_found_until_it_ends():
    known = Remembered()
    known.keep(digest(1), ANN, 100.0, 20)
    assert known.find(digest(1), 99.9) is ANN
    assert known.find(digest(2), 99.9) is None
    assert known.find(digest(1), 100.0) is None
    assert len(known) == 0
    assert known.hits == 1
    assert repr(known) == "<Remembered 0 tokens, 0 bytes>"


def test_the_number_is_bounded_and_the_oldest_goes():
    known = Remembered()
    for number in range(MOST + 10):
        known.keep(digest(number), ANN, 100.0, 10)
    assert len(known) == MOST
    assert known.find(digest(9), 0.0) is None
    assert known.find(digest(10), 0.0) is ANN


def test_the_size_is_bounded():
    known = Remembered()
    for number in range(5000):
        known.keep(digest(number), ANN, 100.0, 6000)
    assert len(known) == MOST_BYTES // (remembered.OVERHEAD + remembered.SPREAD * 6000)


def test_keeping_again_counts_once():
    known = Remembered()
    for _ in range(3):
        known.keep(digest(1), ANN, 100.0, 100)
    assert repr(known) == f"<Remembered 1 tokens, {remembered.OVERHEAD + remembered.SPREAD * 100} bytes>"
    assert "ann" not in repr(known)
