"""quantity: durations as the Gateway API writes them."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.resources.quantity import Duration, milliseconds, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("0s", 0), ("25ms", 25), ("2s", 2000), ("1m", 60_000), ("1h30m", 5_400_000), ("1h1m1s1ms", 3_661_001)],
)  # fmt: skip
def test_a_duration_has_a_length(text: str, value: int) -> None:
    msgspec.convert(text, Duration)
    assert milliseconds(text) == value
    assert seconds(text) == value / 1000


@pytest.mark.parametrize(
    "text", ["", "2", "s", "2 s", "2S", "1.5s", "-1s", "100000s", "1d", "1s\n", "1h1h1h1h1h", "٣s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Duration)
