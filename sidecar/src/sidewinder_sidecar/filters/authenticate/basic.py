"""RFC 7617: a user's name and password, checked against what the Secret keeps as a PHC string of scrypt (RFC 7914).

Checking a password is meant to be slow: 0.2 s of CPU and 16 MB. It happens in a thread, one at a time, a bounded
number wait, and what was found out is remembered for minutes by a keyed hash, so that a caller pays once. An unknown
user costs what a known one does. Built by `provider`.
"""

from __future__ import annotations

import asyncio
import binascii
import os
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from sidewinder_sidecar.filters.authenticate.verdict import (
    INVALID,
    MALFORMED,
    UNAVAILABLE,
    Pending,
    Refusal,
    Verified,
    Verify,
)
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.snapshot.authentication import BasicProvider
from sidewinder_sidecar.snapshot.hashed import BLOCK, COST, LONGEST_NAME, ROUNDS, Password, password

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.context import Context

KEPT: Final = 1024  # of what was found out, 200 KB
GOOD_SECONDS: Final = 300.0
BAD_SECONDS: Final = 10.0  # a client that repeats a wrong password must not keep the thread busy
WAITING: Final = 32  # who waits longer than 3 s for a password is better told to come back

_INVALID: Final = Refusal(INVALID, "the user name or the password is wrong")
_MALFORMED: Final = Refusal(MALFORMED, "the credentials are not a user name and a password as RFC 7617 has them")
_BUSY: Final = Refusal(UNAVAILABLE, "too many passwords are being checked")


# What stands for a user whom nobody knows; as slow as what `sidewinder apikey password` makes.
UNKNOWN: Final = Password(
    COST, BLOCK, ROUNDS, b"sidewinder-nobody", b"\0" * 32
)  # a hash that nobody finds a password for


class Desk:
    """Where passwords are checked, one at a time, and what is remembered of it. One for the process; outlives plans."""

    __slots__ = ("_asked", "_clock", "_kept", "_secret", "_thread")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # monotonic
        self._secret = os.urandom(32)  # without it, what is remembered cannot be tried against lists of passwords
        self._kept: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()  # by key: whether it fits, until when
        self._asked: dict[bytes, list[Asked]] = {}
        self._thread: ThreadPoolExecutor | None = None

    def key(self, kept: Password, user: bytes, given: bytes) -> bytes:
        """What a check is remembered by: it includes how the password is kept, so that a change counts at once."""
        parts = (kept.salt, kept.hash, b"%d %d %d" % kept[:3], user, given)
        whole = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return blake2b(whole, key=self._secret, digest_size=32).digest()

    def find(self, key: bytes) -> bool | None:
        """What was found out and still holds."""
        found = self._kept.get(key)
        return found[0] if found is not None and self._clock() < found[1] else None

    def check(self, key: bytes, kept: Password, given: bytes, verified: Verified) -> Pending | Refusal:
        """Have it checked; `verified` is the answer if it fits."""
        pending = Pending(lambda gone: self._leave(key, gone))
        others = self._asked.get(key)
        if others is not None:
            others.append(Asked(pending, verified))
            return pending
        if len(self._asked) >= WAITING:
            return _BUSY
        self._asked[key] = [Asked(pending, verified)]
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "passwords")
        done = asyncio.get_running_loop().run_in_executor(self._thread, kept.fits, given)
        done.add_done_callback(lambda future: self._on_checked(key, future))
        return pending

    def _leave(self, key: bytes, gone: Pending) -> None:
        """Who asked is gone; the check goes on, and what it finds is remembered."""
        if (others := self._asked.get(key)) is not None:
            self._asked[key] = [asked for asked in others if asked.pending is not gone]

    def _on_checked(self, key: bytes, future: asyncio.Future[bool]) -> None:
        waiting = self._asked.pop(key)
        if future.cancelled() or future.exception() is not None:  # no memory for it, or the process ends
            for asked in waiting:
                asked.pending.answer(_BUSY)
            return
        good = future.result()
        self._kept[key] = (good, self._clock() + (GOOD_SECONDS if good else BAD_SECONDS))
        self._kept.move_to_end(key, last=good)  # a flood of wrong ones makes room among themselves
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        for asked in waiting:
            asked.pending.answer(asked.verified if good else _INVALID)


class Asked(NamedTuple):
    """Who waits for a check, and what he is told if it fits."""

    pending: Pending
    verified: Verified


def build(spec: BasicProvider, context: Context) -> Verify:
    """Raises ValueError for a Secret that holds something else than PHC strings of scrypt."""
    credentials = context.credentials[spec.credentials]
    users: dict[bytes, tuple[Password, Verified]] = {}
    for credential in credentials.credentials:
        try:
            kept = password(credential.hash)
        except ValueError as fault:
            raise ValueError(f"user {credential.id}: {fault}") from None
        claims = {**credential.metadata, "sub": credential.id}
        users[credential.id.encode()] = kept, Verified(claims, credential.id, credential.plan)
    # who is not there must not be told apart by how long it takes
    like = next(iter(users.values()))[0] if users else UNKNOWN
    nobody = (UNKNOWN._replace(cost=like.cost, block=like.block, rounds=like.rounds), Verified({}))
    desk: Desk = context.memory.setdefault("passwords", Desk(context.wheel.clock))

    def verify(call: Call, credential: bytes) -> Verified | Refusal | Pending:
        try:
            user, colon, given = b64decode(credential, validate=True).partition(b":")
        except binascii.Error:
            return _MALFORMED
        if not colon or len(user) > LONGEST_NAME:
            return _MALFORMED
        kept, verified = users.get(user, nobody)
        key = desk.key(kept, user, given)
        known = desk.find(key)
        if known is None:
            return desk.check(key, kept, given, verified)
        return verified if known else _INVALID

    return verify
