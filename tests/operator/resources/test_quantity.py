"""quantity: durations as the Gateway API writes them, sizes as Kubernetes does."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.resources.quantity import Duration, Size, milliseconds, seconds, size


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


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("512", 512), ("16Ki", 16_384), ("1Mi", 1_048_576), ("2Gi", 2_147_483_648), ("0Ki", 0)],
)
def test_a_size_has_so_many_bytes(text: str, value: int) -> None:
    msgspec.convert(text, Size)
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "Ki", "1K", "1M", "1.5Mi", "-1", "1 Mi", "1mi", "1MiB", "1e3", "1Ki\n", "9" * 13])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Size)
