"""A verified claim by the name that policies write: `groups`, or `realm_access.roles` for a member of an object.

Asked by the filters of authentication (forwarded headers, required claims) and authorization (`when`), and by balancing
(hash keys).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def find(claims: Mapping[str, Any], name: str) -> Any:
    """The claim's value as it was verified, None if there is none. A name that stands as it is wins over a path, for
    claims are often named by URLs."""
    if name in claims or "." not in name:
        return claims.get(name)
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def texts(value: Any) -> tuple[str, ...]:
    """What a claim holds, as text: each member of a list, else itself. Objects and null hold nothing."""
    if isinstance(value, (list, tuple)):
        return tuple(text for member in value for text in texts_of_one(member))
    return texts_of_one(value)


def texts_of_one(value: Any) -> tuple[str, ...]:
    """One scalar as a policy writes it; numbers and booleans as JSON has them."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, (int, float)):
        return (f"{value:g}" if isinstance(value, float) else str(value),)
    return ()
