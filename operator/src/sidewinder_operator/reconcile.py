"""Collect, compile, publish, report: the one loop. Level-based: an event only rings the bell, the work is done from
state.

The command line gives it files and processes, `main` reflectors; both get the same pipeline. `ring` is cheap and may be
called as often as anything happens.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from sidewinder_operator.compile.compiler import Compiled, Options, Running, compile_cluster
from sidewinder_operator.compile.last_good import LastGood
from sidewinder_operator.compile.project import Projector
from sidewinder_operator.compile.sections import Kept
from sidewinder_operator.compile.wreck import Wreck
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import Cluster

log = logging.getLogger("sidewinder.reconcile")


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What there is: objects, what was wrong with reading them, and what runs."""

    cluster: Cluster
    problems: tuple[Problem, ...] = ()
    wrecks: tuple[Wreck, ...] = ()
    running: Running = Running()


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn of the loop came to. `changed`: the workloads that get something new. `seconds`: what it cost."""

    collected: Collected
    compiled: Compiled
    changed: tuple[str, ...]
    seconds: float = 0.0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All there are: of reading and of meaning."""
        return (*self.collected.problems, *self.compiled.problems)


class Reconciler:
    """The loop and what it remembers: what was good last."""

    def __init__(
        self,
        store: Store,
        collect: Callable[[], Collected],
        report: Callable[[Round], None],
        *,
        last_good: LastGood | None = None,
        options: Options | None = None,
        debounce: float = 0.1,
        longest: float = 1.0,
    ) -> None:
        self._store = store
        self._collect = collect
        self._report = report
        self._options = options or Options()
        self._debounce = debounce  # seconds of quiet before a burst of events is worked off
        self._longest = longest  # seconds after which it is worked off without quiet
        self._bell = asyncio.Event()
        self.due = False  # it was rung and no turn was done since: what is published is not yet what there is
        self._projector: Projector | None = None  # what the last turn made, to go on from
        self.last_good: LastGood = last_good or {}
        self._kept: Kept = {}  # what ConfigMaps said when they could last be read: in this process alone
        self.rounds = 0

    def ring(self) -> None:
        """Something may have changed."""
        self.due = True
        self._bell.set()

    def once(self) -> Round:
        """One turn, now."""
        self._bell.clear()
        began = time.perf_counter()
        collected = self._collect()
        compiled = compile_cluster(
            collected.cluster,
            self.last_good,
            running=collected.running,
            wrecks=collected.wrecks,
            options=self._options,
            kept=self._kept,
        )
        self._kept = compiled.kept
        self._projector = projector = Projector(compiled.mesh, self._projector)
        self.rounds += 1  # before anybody is woken by what is published
        self.due = False
        changed = self._store.show(projector)
        self.last_good = compiled.last_good
        done = Round(
            collected=collected, compiled=compiled, changed=tuple(changed), seconds=time.perf_counter() - began
        )
        self._report(done)
        return done

    async def run(self) -> None:
        """Turns whenever the bell rings; until cancelled."""
        while True:
            await self._bell.wait()
            await self._quiet()
            try:
                self.once()
            except Exception:  # a bug of ours must not stop what comes after it
                log.exception("this turn failed; what was published before serves on")

    async def _quiet(self) -> None:
        """Lets a burst of events pass."""
        until = asyncio.get_running_loop().time() + self._longest
        while self._bell.is_set() and asyncio.get_running_loop().time() < until:
            self._bell.clear()
            await asyncio.sleep(self._debounce)
