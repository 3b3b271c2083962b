"""Times, sizes and shares as users write them. They stay text in the types; `seconds` and `size` read one.

A duration is the Gateway API's (GEP-2257): up to four numbers with a unit, such as `1h30m` or `250ms`.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from msgspec import Meta

Duration: TypeAlias = Annotated[
    str,
    Meta(
        min_length=2,  # "0s"
        max_length=32,  # four times five digits and two letters are 28
        pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}\Z",
        extra={"right": "a duration such as `500ms`, `2s` or `1h30m`"},
    ),
]
# Kubernetes writes sizes so (resource.Quantity), with more spellings than anybody needs here.
Size: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=14,
        pattern=r"^[0-9]{1,12}(Ki|Mi|Gi)?\Z",
        extra={"right": 'a number of bytes such as `1Mi`, `16Ki` or `"512"`'},
    ),
]
Percent: TypeAlias = Annotated[int, Meta(ge=0, le=100, extra={"right": "a whole number from 0 to 100"})]

_PART = re.compile("([0-9]+)(ms|h|m|s)")
_UNIT = {"h": 3600_000, "m": 60_000, "s": 1000, "ms": 1}


_FACTOR = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def size(written: str) -> int:
    """How many bytes a valid Size is."""
    factor = _FACTOR.get(written[-2:], 0)
    return int(written[:-2]) * factor if factor else int(written)


def milliseconds(duration: str) -> int:
    """How long a valid Duration is, exactly."""
    return sum(int(number) * _UNIT[unit] for number, unit in _PART.findall(duration))


def seconds(duration: str) -> float:
    """How long a valid Duration is, as the snapshot wants it."""
    return milliseconds(duration) / 1000
