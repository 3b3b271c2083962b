"""How long news take to be live: from the publishing of a picture to its acknowledgement on a stream of this replica.

Told by `main` what was published, and by `Acks` what was acknowledged. Of several pictures that a proxy skips the first
counts: that is how long somebody who changed something has waited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sidewinder_operator.discovery.acks import Acks


class Lag:
    """`observe` is told seconds, once for each proxy that is current again."""

    def __init__(
        self, acks: Acks, observe: Callable[[float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._acks = acks
        self._observe = observe
        self._clock = clock
        self._since: dict[str, float] = {}
        acks.listen(self._on_told)

    def published(self, workloads: Iterable[str]) -> None:
        """These should have something new. Who has no stream here is waited for by nobody."""
        now = self._clock()
        for workload in workloads:
            if workload in self._acks.own and not self._acks.current(workload):
                self._since.setdefault(workload, now)

    def waiting(self) -> int:
        """Proxies with a stream that have not acknowledged yet."""
        return len(self._since)

    def _on_told(self, workload: str) -> None:
        if workload not in self._since:
            return
        having = self._acks.own.get(workload)
        if having is None or having.rejections:  # it has gone, or has said no: neither is slowness
            del self._since[workload]
        elif self._acks.current(workload):
            self._observe(self._clock() - self._since.pop(workload))
