"""What this process lacks is nobody else's failure."""

from __future__ import annotations

import asyncio
import errno
import os
import resource

import pytest

from sidewinder_sidecar.messages import CONNECT, SENT, Failure
from sidewinder_sidecar.upstream.shortage import is_ours


@pytest.mark.parametrize(
    ("stage", "detail", "ours"),
    [
        (CONNECT, os.strerror(errno.EMFILE), True),
        (CONNECT, os.strerror(errno.EADDRNOTAVAIL), True),
        (CONNECT, os.strerror(errno.EHOSTUNREACH), False),
        (CONNECT, os.strerror(errno.ECONNREFUSED), False),
        (CONNECT, "", False),
        (SENT, os.strerror(errno.EMFILE), False),
    ],
)
def test_whose_it_is(stage: str, detail: str, ours: bool) -> None:
    assert is_ours(Failure(stage, "connect_failed", detail)) is ours


def test_the_loop_says_it_in_these_words() -> None:
    async def call() -> str:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", 9)
        except OSError as error:
            return error.strerror or str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return ""

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert is_ours(Failure(CONNECT, "connect_failed", runner.run(call())))
