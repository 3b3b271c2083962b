"""API keys made, exchanged, revoked and listed; and a user's password made ready for a Secret. See `cli/keys`.

A key is shown once, when it is made. What is kept is its hash, beside its plan and metadata: whoever reads the Secret
cannot use it. The first letters, `swk_<id>`, are no secret: logs and this list know a key by them.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from base64 import b32encode, b64encode
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from sidewinder_operator.cli.key_store import Store
from sidewinder_operator.resources.stored_key import StoredKey, read, write
from sidewinder_sidecar.snapshot.hashed import BLOCK, COST, KEY_ID, LONGEST_NAME, ROUNDS, Password, key_hash

PREFIX = "swk_"
SECRET_BYTES = 32
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile("([0-9]{1,5})([dhms])")


class Wrong(Exception):
    """What was asked for cannot be done; says why."""


class Made(NamedTuple):
    """A key that was just made: the only time that all of it is known."""

    id: str
    key: str
    stored: StoredKey


class Listed(NamedTuple):
    """A key of a Secret. `broken`: why nobody can use it, "" for a good one."""

    id: str
    stored: StoredKey | None
    broken: str = ""


def create(
    store: Store,
    now: dt.datetime,
    *,
    plan: str = "",
    metadata: Mapping[str, str] | None = None,
    note: str = "",
    expires: dt.datetime | None = None,
) -> Made:
    """A new key. Raises Wrong."""
    made = _make(now, plan=plan, metadata=dict(metadata or {}), note=note, expires=expires)
    store.change({made.id: write(made.stored)})
    return made


def rotate(store: Store, now: dt.datetime, key: str, grace: dt.timedelta) -> tuple[Made, str]:
    """Another key in the place of one, which holds for the grace period still; and that one's id. Raises Wrong."""
    known = store.read()
    old = resolve(known, key)
    try:
        stored = read(known[old])
    except ValueError as fault:
        raise Wrong(f"the entry {old} {fault}") from None
    made = _make(now, plan=stored.plan, metadata=stored.metadata, note=stored.note, expires=_renewed(stored, now))
    end = now + grace
    if stored.expires is not None and stored.expires < end:
        end = stored.expires
    changes = {made.id: write(made.stored), old: write(msgspec.structs.replace(stored, expires=end))}
    store.change(changes)
    return made, old


def revoke(store: Store, key: str) -> str:
    """From now on nobody can use that key; its id. Raises Wrong."""
    found = resolve(store.read(), key)
    store.change({found: None})
    return found


def listed(store: Store, prefix: str = "") -> list[Listed]:
    """All keys whose id begins like this, in order of their making."""
    wanted = _bare(prefix)
    found = []
    for name, text in store.read().items():
        if not name.startswith(wanted):
            continue
        try:
            stored = read(text) if KEY_ID.fullmatch(name) else None
        except ValueError as fault:
            found.append(Listed(name, None, str(fault)))
            continue
        found.append(Listed(name, stored, "" if stored is not None else "is not named by the id of a key"))
    return sorted(found, key=lambda each: (_created(each), each.id))


def resolve(known: Mapping[str, str], key: str) -> str:
    """The id that is meant: an id, its beginning, or the whole key. Raises Wrong."""
    wanted = _bare(key)
    if wanted in known:
        return wanted
    found = sorted(name for name in known if wanted and name.startswith(wanted))
    if not found:
        why = "" if known else ": the Secret has no entries, or is not there"
        raise Wrong(f"no key begins with {PREFIX}{wanted}{why}")
    if len(found) > 1:
        raise Wrong(f"{len(found)} keys begin with {PREFIX}{wanted}")
    return found[0]


def moment(text: str, now: dt.datetime) -> dt.datetime:
    """`90d`, `12h`, or a time of RFC 3339. Raises Wrong."""
    if _SPAN.fullmatch(text):
        return now + span(text)
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Wrong(f"{text!r} is no time: 90d, 12h, or 2030-01-31T00:00:00Z")
    if found <= now:
        raise Wrong(f"{text} is over already")
    return found


def span(text: str) -> dt.timedelta:
    """`24h`, `90d`. Raises Wrong."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise Wrong(f"{text!r} is no duration: 90d, 24h, 30m or 0s")
    return dt.timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def password_line(user: str, password: str) -> str:
    """A line of the entry `users`. Raises Wrong."""
    if not user or ":" in user or not user.isprintable() or user != user.strip() or user.startswith("#"):
        raise Wrong("a user's name has no colon, no control character, no blank at its ends and no # in front")
    if len(user.encode()) > LONGEST_NAME:
        raise Wrong(f"a user's name has at most {LONGEST_NAME} bytes")
    if not password:
        raise Wrong("a password is not empty")
    salt = secrets.token_bytes(16)
    digest = Password(COST, BLOCK, ROUNDS, salt, b"\0" * 32).made(password.encode())
    return f"{user}:$scrypt$ln={COST},r={BLOCK},p={ROUNDS}${_unpadded(salt)}${_unpadded(digest)}"


def _make(now: dt.datetime, *, plan: str, metadata: dict[str, str], note: str, expires: dt.datetime | None) -> Made:
    # a letter first: YAML reads ten digits as a number
    name = secrets.choice(_LETTERS) + _base32(secrets.token_bytes(8))[:9]
    key = f"{PREFIX}{name}_{_base32(secrets.token_bytes(SECRET_BYTES))}"
    stored = StoredKey(
        hash=key_hash(key.encode()),
        plan=plan,
        metadata=metadata,
        note=note,
        created=now.replace(microsecond=0),
        expires=expires.replace(microsecond=0) if expires is not None else None,
    )
    try:
        read(write(stored))
    except ValueError as fault:
        raise Wrong(f"plan, metadata or note: {fault}") from None
    return Made(name, key, stored)


def _renewed(stored: StoredKey, now: dt.datetime) -> dt.datetime | None:
    """The new key lives as long as the old one was made for."""
    if stored.expires is None or stored.created is None:
        return stored.expires
    return now + (stored.expires - stored.created)


def _bare(key: str) -> str:
    """What of a key is its id: nobody who pastes a whole key should find it in an error message."""
    return key.removeprefix(PREFIX).partition("_")[0]


def _created(key: Listed) -> dt.datetime:
    stored = key.stored
    return (
        stored.created if stored is not None and stored.created is not None else dt.datetime.min.replace(tzinfo=dt.UTC)
    )


def _base32(raw: bytes) -> str:
    return b32encode(raw).decode().rstrip("=").lower()


def _unpadded(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")
