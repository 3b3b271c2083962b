"""Regular expressions that cannot hang: RE2, in linear time. The only importer of google-re2, and only once needed.

Used by the index for paths, headers and query parameters. Works on bytes: what is on the wire is not always UTF-8.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

LARGEST_PROGRAM = 1 << 20  # bytes RE2 may use for one expression: what needs more is a mistake or an attack
SET_MEMORY = 8 << 20  # bytes for a set's automaton, RE2's own default; built lazily, thrown away when full …
SET_MEMORY_EACH = 8 << 10  # … and for each expression in it: measured, 10 000 of 30 letters need 2 KB each


class Found(Protocol):
    """A match."""

    def groupdict(self) -> dict[bytes, bytes | None]: ...


class Pattern(Protocol):
    """A compiled expression."""

    def fullmatch(self, text: bytes) -> Found | None: ...


def _re2() -> Any:
    return importlib.import_module("re2")


def compile(expression: str) -> Pattern:  # noqa: A001 (the word of the trade)
    """Raises ValueError that says what is wrong with the expression."""
    re2 = _re2()
    options = re2.Options()
    options.log_errors = False
    options.max_mem = LARGEST_PROGRAM
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        pattern: Pattern = re2.compile(expression.encode(), options)
    except re2.error as fault:
        reason = fault.args[0]
        raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None
    return pattern


def captures(found: Found) -> dict[str, str] | None:
    """The named groups as text; None if there are none."""
    groups = found.groupdict()
    return {name.decode(): (value or b"").decode("utf-8", "replace") for name, value in groups.items()} or None


class Candidates:
    """Which of many expressions match a text, in one pass over it. Raises ValueError when they do not fit one set."""

    __slots__ = ("_set",)

    def __init__(self, expressions: Sequence[str]) -> None:
        re2 = _re2()
        options = re2.Options()
        options.log_errors = False
        options.max_mem = SET_MEMORY + SET_MEMORY_EACH * len(expressions)
        options.encoding = re2.Options.Encoding.LATIN1
        self._set = re2.Set.FullMatchSet(options)
        for expression in expressions:
            self._set.Add(expression.encode())
        try:
            self._set.Compile()
        except re2.error as fault:
            raise ValueError(str(fault)) from None

    def match(self, text: bytes) -> list[int]:
        """Positions of those that match, in order."""
        return sorted(self._set.Match(text) or ())  # None for none
