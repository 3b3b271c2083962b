"""An identity that somebody else writes: looked at once a second, used when it is whole. Run by main, without a token.

`sidewinder up` is such a somebody. The three files are renamed into their place one by one, so for a moment they may
not belong together: what was in use stays until they do. What serves does not depend on any of it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from sidewinder_sidecar.identity import files
from sidewinder_sidecar.identity.files import Files, Held
from sidewinder_sidecar.identity.leaf import Unfit
from sidewinder_sidecar.identity.renewal import date

log = logging.getLogger("sidewinder.identity")

NAMES = (files.KEY, files.CERTIFICATE, files.BUNDLE)


class Watched:
    """One per process. `held` is what is shown to peers, None while there is none; `changed` hears of every new one."""

    def __init__(
        self,
        files: Files,
        *,
        now: Callable[[], float] = time.time,
        changed: Callable[[Held], None] = lambda held: None,
    ) -> None:
        self.held: Held | None = None
        self.changed = changed
        # what metrics and the admin page tell, as of an enrolled one
        self.renew_at = 0.0
        self.enrolments = 0
        self.failures = 0
        self.fault = "there is none yet"
        self._files = files
        self._now = now
        self._stamp: tuple[tuple[int, ...], ...] = ()

    @property
    def usable(self) -> bool:
        """Whether peers would take the certificate now."""
        return self.held is not None and self.held.leaf.not_before <= self._now() < self.held.leaf.not_after

    def look(self) -> None:
        """Once a second, and at the start."""
        stamp = tuple(map(_stamp, self._places()))
        if stamp == self._stamp or self._files.empty:
            return
        try:
            held = self._files.load()
        except Unfit as fault:
            if str(fault) != self.fault:
                log.warning("identity: %s", fault)
                self.failures += 1
            self.fault = str(fault)
            return  # looked at again in a second: perhaps it is being written
        self._stamp, self.fault = stamp, ""
        before, self.held = self.held, held
        self.renew_at = held.leaf.not_after  # at the latest; when it is, is the writer's to say
        if before is None or before.leaf != held.leaf or before.roots != held.roots:
            log.info("%s until %s", held.leaf.spiffe_id, date(held.leaf.not_after))
            self.changed(held)

    def _places(self) -> list[str]:
        return [self._files.bundle, *(os.path.join(self._files.folder, name) for name in NAMES)]


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return (0,)
    return found.st_ino, found.st_mtime_ns, found.st_size
