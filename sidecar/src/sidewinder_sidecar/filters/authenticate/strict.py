"""JSON as a security decision may rest on it: one reading only. Asked for tokens' headers and claims, and for answers.

Two parsers that read one text differently are how checks are walked around: a name that stands twice, NaN, numbers
beyond all bounds, half of a surrogate pair and nesting without end are refused, not repaired.
"""

from __future__ import annotations

import json
from math import isfinite
from sys import intern
from typing import Any, Final, NoReturn

DEEPEST: Final = 16  # levels: claims have three or four
LONGEST_NUMBER: Final = 40  # characters: a time has ten, a 64-bit number twenty


class Unclear(ValueError):
    """Not JSON that everybody reads alike; says why, without the text."""


def read(raw: bytes) -> dict[str, Any]:
    """The object that the text is. Raises Unclear."""
    try:
        found = _DECODER.decode(raw.decode("utf-8"))
    except Unclear:
        raise
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Unclear("it is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise Unclear("it is no JSON object")
    _look(found)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {intern(name): value for name, value in pairs}  # the same names in ten thousand remembered tokens
    if len(found) != len(pairs):
        raise Unclear("a name stands twice in an object")
    return found


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise Unclear("a number is too long")
    return int(text)


def _real(text: str) -> float:
    number = float(text) if len(text) <= LONGEST_NUMBER else float("inf")
    if not isfinite(number):
        raise Unclear("a number is too large or too long")
    return number


def _constant(_: str) -> NoReturn:
    raise Unclear("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant)


def _look(found: dict[str, Any]) -> None:
    """Depth and surrogates, level by level."""
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, str) and not value.isascii() and not _is_whole(value):
                raise Unclear("a text holds half a character")
        if not below:
            return
        level = below
    raise Unclear(f"more than {DEEPEST} levels")


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
