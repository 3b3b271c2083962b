"""Enrolment in a process of its own: what it takes is heavy (`cryptography`, 11 MB) and needed twice a day.

The child writes one line about how it went, `Outcome`, and ends. Called by `renewal`; the child's side is `enrol`.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

SECONDS = 20.0  # that an enrolment may take; the operator's part are milliseconds
PATIENCE = SECONDS + 5.0  # the child ends itself before; this is for one that cannot
KILLED_SECONDS = 5.0
WORDS = ("-m", "sidewinder_sidecar.main", "enrol")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it went: `why` it failed, empty if it did not; and how many seconds the operator asks us to wait."""

    why: str = ""
    retry_after: float = 0.0


async def run(words: tuple[str, ...] = WORDS, seconds: float = PATIENCE) -> Outcome:
    """How an enrolment went; it is over within `seconds`. A child that cannot be started or dies has failed."""
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as fault:
        return Outcome(why=f"no process can be started: {fault.strerror or fault}")
    try:
        told, said = await asyncio.wait_for(child.communicate(), seconds)
    except TimeoutError:
        return Outcome(why=f"it was not over within {seconds:g} s")
    finally:
        if child.returncode is None:
            child.kill()
            await asyncio.wait_for(child.wait(), KILLED_SECONDS)
    return _outcome(child.returncode, told, said)


def _outcome(status: int | None, told: bytes, said: bytes) -> Outcome:
    try:
        return msgspec.json.decode(told, type=Outcome)
    except msgspec.DecodeError:
        last = said.decode("utf-8", "replace").strip()[-1000:]
        return Outcome(why=f"the enrolling process ended with status {status}: {last or 'it said nothing'}")
