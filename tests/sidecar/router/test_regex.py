"""Expressions are linear in time, say what is wrong with them, and are asked many at once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from sidewinder_sidecar.router import regex


def test_what_hangs_backtracking_engines_does_not():
    pattern = regex.compile("(a+)+b")
    begun = time.process_time()
    assert pattern.fullmatch(b"a" * 8000) is None
    assert time.process_time() - begun < 1.0  # backtracking would need 2**8000 steps


@pytest.mark.parametrize("expression", ["(", "[", "a{2,1}", r"\1", "(?=a)", "*", "a{1001}{1001}"])
def test_what_is_none_is_said(expression):
    with pytest.raises(ValueError, match=r"\w"):
        regex.compile(expression)


def test_captures():
    found = regex.compile("/(?P<a>[^/]*)/(?P<b>x)?.*").fullmatch(b"/\xff/")
    assert regex.captures(found) == {"a": "\ufffd", "b": ""}
    assert regex.captures(regex.compile("/.*").fullmatch(b"/")) is None


def test_any_byte_is_a_letter():
    assert regex.compile("/.").fullmatch(b"/\xff") is not None
    assert regex.compile("/ü").fullmatch("/ü".encode()) is not None


def test_many_at_once():
    many = regex.Candidates([f"/a{number}/.*" for number in range(2000)] + ["/a7/b"])
    assert many.match(b"/a7/b") == [7, 2000]
    assert many.match(b"/a7/c") == [7]
    assert many.match(b"/none") == []


def test_the_engine_is_loaded_only_when_there_is_an_expression():
    script = "import sys, sidewinder_sidecar.plan, sidewinder_sidecar.exchange; sys.exit('re2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
