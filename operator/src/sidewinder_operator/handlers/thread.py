"""kopf in a thread with an event loop of its own, for as long as this replica leads. Run by `main`.

Why a thread: kopf cancels every task of its loop that is younger than itself when it ends. Why a supervisor: it ends by
itself when the API server refuses for about a minute. Nothing of ours depends on it being there all the time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

import kopf

from sidewinder_operator.handlers.lifecycle import Mark, registry
from sidewinder_operator.problems import Reference

log = logging.getLogger("sidewinder.handlers")

SHORTEST_PAUSE = 1.0  # seconds before kopf is started again
LONGEST_PAUSE = 30.0
# Together below the 5 s that lie between a leader's deadline and its Lease's end. kopf that is told to end while it
# starts waits for ever for an answer on a connection that it has closed itself: then all of its tasks are cancelled.
PATIENCE = 1.0
INSISTENCE = 3.0
PREFIX = "operator.sidewinder.dev"  # of anything that kopf might ever write to an object


logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # it warns that signals are not for a thread


class Handlers:
    """Starts kopf and ends it. `mark` is called in the loop that made this object, never in kopf's."""

    def __init__(self, server: str, token_file: Path | None, authority: Path | None, mark: Mark) -> None:
        self._server = server
        self._token_file = token_file
        self._authority = authority
        self._mark = mark
        self.starts = 0

    async def run(self) -> None:
        """Until cancelled; then kopf has ended too."""
        pause = SHORTEST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self.starts += 1
            await self._once(loop)
            pause = SHORTEST_PAUSE if loop.time() - began > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            log.warning("kopf has ended; it is started again in about %.0f s", pause)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))

    async def _once(self, loop: asyncio.AbstractEventLoop) -> None:
        stop, over = threading.Event(), asyncio.Event()
        theirs: list[asyncio.AbstractEventLoop] = []

        def mark(reference: Reference, version: str) -> None:
            _call(loop, lambda: self._mark(reference, version))

        def work() -> None:
            try:
                with asyncio.Runner() as runner:
                    theirs.append(runner.get_loop())
                    runner.run(self._kopf(stop, mark))
            except asyncio.CancelledError:
                log.info("kopf was cancelled while it started")
            except Exception:  # whatever ends kopf, it is started again
                log.exception("kopf has failed")
            finally:
                _call(loop, over.set)

        running = threading.Thread(target=work, name="kopf", daemon=True)
        running.start()
        try:
            await over.wait()
        finally:
            stop.set()
            if not await _within(over, PATIENCE):
                for loop_ in theirs:
                    _call(loop_, _cancel_all)
            if over.is_set() or await _within(over, INSISTENCE):
                running.join()  # it has said its last word
            else:
                log.error("kopf does not end; what it marks is not written without the Lease")

    async def _kopf(self, stop: threading.Event, mark: Mark) -> None:
        handlers = registry()
        kopf.on.login(registry=handlers, id="login")(self._login)
        memo = kopf.Memo(mark=mark)
        await kopf.operator(
            registry=handlers, settings=settings(), memo=memo, clusterwide=True, standalone=True, stop_flag=stop
        )

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        """Asked again whenever the API server refuses the token: by then the file has a new one."""
        token = self._token_file.read_text().strip() if self._token_file is not None else None
        return kopf.ConnectionInfo(
            server=self._server, token=token, ca_path=str(self._authority) if self._authority is not None else None
        )


def settings() -> kopf.OperatorSettings:
    """kopf's settings, where its defaults would bite."""
    found = kopf.OperatorSettings()
    found.peering.standalone = True  # a Lease elects; peering only pauses
    found.scanning.disabled = True  # our own kinds are there before us and do not change
    found.watching.chunk_size = 500
    found.watching.server_timeout = 300
    found.networking.error_backoffs = (1, 2, 4, 8, 16, 30, 30, 30, 30, 30)  # minutes, not 54 s
    found.networking.request_timeout = 30
    found.posting.enabled = False  # Events are `status`'s to tell
    found.persistence.finalizer = f"{PREFIX}/finalizer"
    found.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=PREFIX)
    found.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=PREFIX)
    return found


async def _within(over: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(over.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    """In the other loop; nowhere, when that has ended meanwhile."""
    try:
        loop.call_soon_threadsafe(work)
    except RuntimeError:
        log.info("the process ends before kopf")
