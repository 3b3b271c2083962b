"""Another root for a running `sidewinder up`, in the three stages of `authority.rotation`, each on evidence.

The evidence is what each sidecar says on its stream: whom it trusts, and whether the root that signs now has signed
its certificate. `up` runs it when `sidewinder rotate-root --state DIR` asks; the command's side is here as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.local import Authority
from sidewinder_operator.authority.root import fingerprint
from sidewinder_operator.cli import status
from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.discovery.store import Store

LOOK_SECONDS = 0.5
SAID = {
    "announced": "1 of 3: the next root is announced; it signs when every sidecar trusts it",
    "switched": "2 of 3: the next root signs; the old one is forgotten when every certificate is of the next",
    "forgotten": "3 of 3: the old root is trusted no longer",
}


class Rotation:
    """One per `up`. `stage` is where it stands; "" while none is under way."""

    def __init__(self, authority: Authority, acks: Acks, store: Store, say: Callable[[str], object]) -> None:
        self.stage = ""
        self._authority = authority
        self._acks = acks
        self._store = store
        self._say = say

    async def run(self) -> None:
        """All of it, unless it is under way already."""
        if self.stage:
            return
        authority = self._authority
        try:
            await self._enter("announced", roots.announce(authority.trust, authority.root()), _trusts)
            await self._enter("switched", roots.switch(authority.trust), _has_renewed)
            await self._enter("forgotten", roots.forget(authority.trust), _has_renewed)
        finally:
            self.stage = ""

    async def _enter(self, stage: str, trust: roots.Trust, holds: Callable[[Having, tuple[str, ...]], bool]) -> None:
        """Has everybody know a trust, and waits until they do."""
        self.stage = stage
        self._say(SAID[stage])
        self._authority.use(trust)
        wanted = tuple(map(fingerprint, trust.bundle))

        def done() -> bool:
            having = self._acks.having
            return all(id_ in having and holds(having[id_], wanted) for id_ in self._store.pictures)

        await self._acks.until(done, None)

    def told(self) -> dict[str, str]:
        """For `status`."""
        return {"root": fingerprint(self._authority.trust.signing.certificate), "stage": self.stage}


def _trusts(having: Having, wanted: tuple[str, ...]) -> bool:
    return set(wanted) <= {*having.trusts}


def _has_renewed(having: Having, wanted: tuple[str, ...]) -> bool:
    """It shows a certificate of the root that signs now, and trusts whom it should and nobody else."""
    return having.renewed and having.trusts == wanted


# The command's side.


def ask(state: Path) -> None:
    """Asks the running `up` for another root. Raises status.NotRunning."""
    status.ask(state, "POST", status.ROTATE)


def follow(state: Path, seconds: float, tell: Callable[[str], object]) -> bool:
    """Tells each stage until all are done; False when the time is over first. Raises status.NotRunning."""
    until, before = time.monotonic() + seconds, ""
    while True:
        stage = look(state)["stage"]
        if stage != before and stage:
            tell(SAID[stage])
        if not stage:
            return True
        if time.monotonic() >= until:
            return False
        before = stage
        time.sleep(LOOK_SECONDS)


def sentence(told: Any) -> str:
    """How it stands, for people."""
    under_way = f"; {SAID[told['stage']]}" if told["stage"] else ""
    return f"the root {told['root']} signs{under_way}"


def look(state: Path) -> Any:
    """How it stands. Raises status.NotRunning."""
    return json.loads(status.ask(state))["authority"]
