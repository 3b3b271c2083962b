"""What a plain YAML scalar means to kubectl: YAML 1.1 as go-yaml v2 reads it, then JSON. `document` calls `resolve`.

PyYAML's own rules differ (it reads `1:30` as 90 and `y` as text), so that none of them is used. The rules, in order:
words for true, false and null; whole numbers with Go's prefixes and `_`; decimal numbers; everything else is text.
A timestamp stays text, and a decimal number without a fraction is a whole one, as in JSON.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_SPECIAL = frozenset("yYnNtTfFoO~")  # what a word may begin with
_NUMERIC = frozenset("+-0123456789")
_WHOLE = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_CERTAIN = 19  # fewer digits than this are within 64 bits
_LONGEST = 400  # characters of a number; a double has no more that mean anything
# Where JSON's number text turns to an exponent in Go, and a reader of whole numbers refuses it.
_LARGEST_WHOLE = 1e21


def resolve(text: str) -> Scalar:
    """The value of a plain scalar. Not-a-number and infinity are for the caller to refuse: JSON has none."""
    first = text[:1]
    if first in _SPECIAL or not first:
        return _WORDS.get(text, text)
    if first in _NUMERIC:
        return _WORDS[text] if text in _WORDS else _number(text)
    if first == ".":
        return _WORDS[text] if text in _WORDS else _decimal(text, text)
    return text


def _number(text: str) -> Scalar:
    if len(text) < _CERTAIN and text[0] != "0" and text.isascii() and text.isdigit():
        return int(text)  # nearly all of them: a port, a weight
    if len(text) > _LONGEST:
        return text
    plain = text.replace("_", "")
    if (match := _WHOLE.fullmatch(plain)) is None:
        return _decimal(plain, text)
    sign, hexadecimal, binary, octal, decimal = match.groups()
    digits, base = next(
        (found, base)
        for found, base in zip((hexadecimal, binary, octal, decimal), (16, 2, 8, 10), strict=True)
        if found
    )
    number = int(digits, base)
    if base == 10 and number >= 1 << (63 if sign else 64) and not (sign and number == 1 << 63):
        return _decimal(plain, text)  # wider than Go's integers: a double
    return -number if sign == "-" else number


def _decimal(plain: str, text: str) -> Scalar:
    if _DECIMAL.fullmatch(plain) is None:
        return text
    number = float(plain)
    if math.isinf(number):
        return text
    return int(number) if number.is_integer() and abs(number) < _LARGEST_WHOLE else number
