"""The last good configuration on disk, so that a restart without the operator serves on. Used by main and `stream`.

The file is a transaction in the stream's own lines (begin, sets, commit) under a first line that names its format. It
is written beside and renamed, mode 0600; one that is cut short or of another format is refused with the reason and set
aside as `<name>.refused`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time

import msgspec

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.discovery.transaction import Held, Lag, Refusal, Transaction
from sidewinder_sidecar.snapshot import stream

FORMAT = 1
LARGEST = 256 << 20  # bytes; twice what one transaction may hold
# Who computes in a thread keeps the interpreter for 5 ms at a time: for a quarter of a second no turn of the loop would
# be shorter. So it lets go after so many resources, which take half a millisecond, for long enough to be overtaken.
AT_ONCE = 64
NAP_SECONDS = 0.0001

log = logging.getLogger("sidewinder.keep")


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line. `epoch` counts the connections of all processes that kept this file."""

    sidewinder: int
    epoch: int


def write(path: str, held: Held, epoch: int) -> None:
    """Keep a configuration. Raises OSError; the file before stays whole."""
    beside = f"{path}.{os.getpid()}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(Header(FORMAT, epoch)) + b"\n")
            file.write(stream.encode(stream.Begin(1, held.state)))
            for number, (name, body) in enumerate(held.resources.items(), 1):
                if number % AT_ONCE == 0:
                    time.sleep(NAP_SECONDS)
                raw = msgspec.Raw(snapshot.encode(body))
                file.write(stream.encode(stream.Set(name, held.versions[name], raw, held.origins.get(name))))
            file.write(stream.encode(stream.Commit(1)))
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def read(path: str) -> tuple[Held, int]:
    """What is kept and its epoch; nothing and 0 where there is nothing usable, which is said and set aside."""
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST + 1)
    except FileNotFoundError:
        return Held(), 0
    except OSError as fault:
        log.error("%s: the kept configuration cannot be read: %s", path, fault.strerror)
        return Held(), 0
    try:
        return parse(raw)
    except (Refusal, stream.Malformed) as fault:
        log.error("%s: the kept configuration is not used and set aside as .refused: %s", path, fault)
        with contextlib.suppress(OSError):
            os.replace(path, f"{path}.refused")
        return Held(), 0


def parse(raw: bytes) -> tuple[Held, int]:
    """The configuration in a file's bytes. Raises Refusal or Malformed."""
    if len(raw) > LARGEST:
        raise Refusal("", "", f"larger than {LARGEST >> 20} MB")
    first, _, rest = raw.partition(b"\n")
    try:
        header = msgspec.json.decode(first, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refusal("", "", f"its first line is not ours: {fault}") from None
    if header.sidewinder != FORMAT:
        raise Refusal("", "", f"format {header.sidewinder}, and {FORMAT} is spoken here")
    transaction: Transaction | None = None
    for line in rest.splitlines():
        match stream.to_client(line):
            case stream.Begin() as begin if transaction is None:
                transaction = Transaction(begin, Held(), Lag())
            case stream.Set() as message if transaction is not None:
                transaction.set(message, 0.0)
            case stream.Commit() as commit if transaction is not None:
                return transaction.commit(commit), header.epoch
            case other:
                raise Refusal("", "", f"a {type(other).__name__.lower()} has no place in it")
    raise Refusal("", "", "it is cut short")


class Keeper:
    """Writes the newest configuration in a thread; what is overtaken meanwhile is never written."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._newest: tuple[Held, int] | None = None
        self._wake = asyncio.Event()

    def offer(self, held: Held, epoch: int) -> None:
        """Keep this some time soon."""
        self._newest = (held, epoch)
        self._wake.set()

    async def run(self) -> None:
        """For ever; a disk that refuses is said and tried again with the next configuration."""
        while True:
            await self._wake.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        self._wake.clear()
        newest, self._newest = self._newest, None
        if newest is None:
            return
        try:
            await asyncio.to_thread(write, self.path, *newest)
        except OSError as fault:
            log.error("%s: the configuration cannot be kept: %s", self.path, fault.strerror)
