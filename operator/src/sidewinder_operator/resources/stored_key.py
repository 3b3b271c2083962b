"""An API key as a Secret keeps it: an entry named by the key's id, in JSON. Never the key itself.

Written by `sidewinder apikey` and by hand, read by `compile/credentials`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

MOST_METADATA = 16

Text = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class StoredKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`plan` and `metadata` go with the key's requests; the rest is for people. Times are RFC 3339."""

    hash: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    plan: Text = ""
    metadata: Annotated[dict[Text, Text], Meta(max_length=MOST_METADATA)] = {}
    expires: datetime | None = None
    created: datetime | None = None
    note: Text = ""

    def __repr__(self) -> str:
        return f"<StoredKey {self.plan} [redacted]>"


def read(raw: bytes | str) -> StoredKey:
    """An entry's value. Raises ValueError, without what stands in it."""
    try:
        found = msgspec.json.decode(raw, type=StoredKey)
    except msgspec.ValidationError as fault:
        raise ValueError(f"is no API key as `sidewinder apikey` writes it: {_wrong(str(fault))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("is no API key as `sidewinder apikey` writes it: it is not JSON") from None
    for name in ("expires", "created"):
        moment: datetime | None = getattr(found, name)
        if moment is not None and moment.tzinfo is None:
            raise ValueError(f"is no API key as `sidewinder apikey` writes it: {name} needs a time zone, such as Z")
    return found


def _wrong(said: str) -> str:
    """What msgspec says, in our words: it may quote the name of a member, and a regular expression helps nobody."""
    known = ", ".join(StoredKey.__struct_encode_fields__)
    if "unknown field" in said:
        return f"it has a member that is none of {known}"
    field = said.rpartition("`$")[2].strip(".`").partition("[")[0]
    if field == "hash":
        return "hash is not `sha256:` and 64 hexadecimal digits"
    return f"{field} is not as it should be" if field in StoredKey.__struct_encode_fields__ else "hash is missing"


def write(key: StoredKey) -> str:
    """As it is kept."""
    return msgspec.json.encode(key).decode()
