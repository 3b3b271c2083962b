"""Verified claims as headers to the application, which no caller can write: they are removed from every request first.

Built once per section by the frame. Removed are also names that many applications cannot tell from ours: CGI, WSGI and
PHP read `x_user_id` and `x-user-id` as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from sidewinder_sidecar.claims import find, texts
from sidewinder_sidecar.fields import Fields
from sidewinder_sidecar.filters.headers import checked
from sidewinder_sidecar.snapshot.authentication import Forward

# Who a caller is, as some proxies tell it: nobody in front of this proxy is believed that.
NEVER: Final = frozenset((b"x-forwarded-client-cert",))

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]").search

Tell: TypeAlias = Callable[[Fields, "dict[str, Any]"], bool]


def remover(names: Iterable[str]) -> Callable[[Fields], None]:
    """Takes these headers, in any spelling, from what a caller sent. Raises ValueError."""
    ours = frozenset(checked(name)[0].replace(b"_", b"-") for name in names) | NEVER

    def remove(fields: Fields) -> None:
        index = fields.index
        if ours.isdisjoint(index) and b"_" not in b"".join(index):  # 0.4 µs; name by name it takes 3
            return
        for name in [name for name in index if name.replace(b"_", b"-") in ours]:
            fields.remove(name)

    return remove


def teller(rules: tuple[Forward, ...]) -> Tell | None:
    """Writes the claims; False where one cannot be a header. None when nothing is forwarded. Raises ValueError."""
    if not rules:
        return None
    rows = tuple((rule.claim, *checked(rule.header)) for rule in rules)

    def tell(fields: Fields, claims: dict[str, Any]) -> bool:
        for claim, lower, name in rows:
            value = find(claims, claim)
            if value is None:
                continue
            text = _joined(value) if isinstance(value, (list, tuple)) else "".join(texts(value))
            if _CONTROL(text) is not None:
                return False
            if text:
                fields.set(lower, name, text.encode("utf-8", "replace"))
        return True

    return tell


def _joined(members: Any) -> str:
    """A list in one field: a comma inside of a member must not make it two."""
    return ",".join(text.replace("%", "%25").replace(",", "%2C") for text in texts(members))
