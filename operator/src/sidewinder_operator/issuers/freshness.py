"""When keys are to be fetched again: pure, time is an argument. Asked by `keeper`.

The issuer's headers are honoured (RFC 9111 sections 4.2 and 5.2) as far as they are sane; a policy's `cacheDuration` is
the longest. Failures come again after a pause that doubles.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping

LEAST, MOST = 30.0, 86_400.0  # seconds: no header makes us hammer an issuer, none makes us trust its keys for a week
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds after a failure, and after many
EARLIEST = 0.8  # of the time that is left: a fetch that fails has then some left for more

_MAX_AGE = re.compile(r"(?:^|[\s,])(s-maxage|max-age)\s*=\s*\"?(\d{1,9})")
_NEVER = re.compile(r"(?:^|[\s,])(no-store|no-cache)(?:$|[\s,=])")


def lifetime(headers: Mapping[str, str], at_most: float) -> float:
    """How many seconds an answer counts as new. `headers` by lower-case names."""
    return min(max(_told(headers, at_most), LEAST), MOST, max(at_most, LEAST))


def _told(headers: Mapping[str, str], at_most: float) -> float:
    control = headers.get("cache-control", "").lower()
    if _NEVER.search(control):
        return 0.0
    ages = dict(_MAX_AGE.findall(control))
    if ages:
        return float(ages.get("s-maxage") or ages["max-age"]) - _seconds(headers.get("age", ""))
    if "expires" in headers:
        expires, date = _moment(headers["expires"]), _moment(headers.get("date", ""))
        return expires - date if expires and date else 0.0  # RFC 9111 section 5.3: an invalid date is in the past
    return at_most


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0


def _moment(text: str) -> float:
    try:
        return float(email.utils.parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def again(lifetime_: float, chance: float) -> float:
    """Seconds until the next fetch after one that went well; `chance` from 0 to 1, so that nobody comes in step."""
    return lifetime_ * (EARLIEST + (1 - EARLIEST) * chance)


def pause(failures: int, chance: float) -> float:
    """Seconds until the next try after so many failures in a row."""
    longest = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE)
    return longest * (0.5 + chance / 2)
