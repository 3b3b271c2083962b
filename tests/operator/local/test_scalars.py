"""scalars: go-yaml's rules, one by one, and PyYAML's nowhere."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.local.scalars import resolve

RULES: list[tuple[str, Any]] = [
    # words of YAML 1.1, in three spellings and no other
    *((word, True) for word in ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")),
    *((word, False) for word in ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")),
    *((word, None) for word in ("", "~", "null", "Null", "NULL")),
    *((word, word) for word in ("yEs", "oN", "tRUE", "nULL", "none", "None", "~~", "yes please", "t", "f")),
    # whole numbers, with Go's prefixes and underscores
    ("0", 0), ("7", 7), ("-7", -7), ("+7", 7), ("1_000", 1000), ("1__0_", 10), ("-0", 0),
    ("0x1F", 31), ("0X1f", 31), ("-0x10", -16), ("0b101", 5), ("0B1", 1), ("-0b11", -3),
    ("0o17", 15), ("0O17", 15), ("017", 15), ("-017", -15), ("00", 0), ("0_7", 7),
    ("18446744073709551615", 18446744073709551615), ("-9223372036854775808", -9223372036854775808),
    # what only looks like one
    ("+", "+"), ("-", "-"), ("0x", "0x"), ("0b2", "0b2"), ("0xg", "0xg"), ("0o8", "0o8"), ("_1", "_1"), ("1a", "1a"),
    ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("1,000", "1,000"), ("1 000", "1 000"), ("--1", "--1"),
    ("0x1.8", "0x1.8"),
    # decimal numbers; without a fraction they are whole, as JSON has it
    ("1.5", 1.5), (".5", 0.5), ("-.5", -0.5), ("1.", 1), ("1e3", 1000), ("1E3", 1000), ("1e-3", 0.001), ("+1.5", 1.5),
    ("08", 8), ("09.5", 9.5), ("1_0.5", 10.5), ("9080.0", 9080), ("1.2.3", "1.2.3"), ("1e", "1e"), (".", "."),
    ("..", ".."),
    ("1e999", "1e999"), ("._5", "._5"), ("18446744073709551616", 18446744073709551616), ("1e22", 1e22),
    # not-a-number and infinity are numbers, and refused by `document`
    (".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf), (".infinity", ".infinity"),
    # times stay text
    ("2026-12-01", "2026-12-01"), ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
    ("2026-12-01 10:00:00", "2026-12-01 10:00:00"),
    # everything else
    ("=", "="), ("<<", "<<"), ("!", "!"), ("reviews", "reviews"), ("10ms", "10ms"), ("50%", "50%"), ("1٣", "1٣"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), RULES, ids=[text or "(empty)" for text, _ in RULES])
def test_a_plain_scalar_means_what_it_means_to_kubectl(text: str, value: Any) -> None:
    resolved = resolve(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(float(resolve(".nan") or 0))


@given(st.text(alphabet="0123456789+-_.eExXoObBaAfFyn~:", max_size=24))
def test_any_text_means_something(text: str) -> None:
    assert isinstance(resolve(text), str | int | float | bool | None)


def test_an_endless_number_takes_no_time() -> None:
    began = time.process_time()
    for text in ("9" * 1_000_000, "0x" + "f" * 1_000_000, "1" + "_" * 1_000_000, "1." + "0" * 1_000_000 + "x"):
        assert resolve(text) == text
    assert time.process_time() - began < 1, "5 ms on a machine at rest"
