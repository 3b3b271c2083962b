"""The CA's Secret: made once, followed by every replica, judged whenever it changes. Run by `main`; calls `root`.

1. What lies in the cluster is what counts. A root that this replica has made counts once it is seen there, so that of
   several replicas that make one at the same time all end with the same.
2. A Secret that cannot be used changes nothing: the last good one signs and is trusted, and `fault` says why.
3. A Secret that is deleted is put back as it was: every certificate in the mesh hangs on it. To begin anew, write
   another one over it.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import logging
from collections.abc import Callable, Mapping

import msgspec

from sidewinder_operator.apiserver import FAILURES, ApiServer, Refused
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.bell import Bell
from sidewinder_operator.authority.root import Trust, Unfit, fingerprint

log = logging.getLogger("sidewinder.authority")

SECRET = "sidewinder-ca"  # noqa: S105 (its name)
LOOK_SECONDS = 60.0  # without news: roots end by themselves
AGAIN_SECONDS = 2.0  # after the API server did not take one
LABELS = {"app.kubernetes.io/managed-by": "sidewinder-operator", "app.kubernetes.io/part-of": "sidewinder"}


class Held(msgspec.Struct, frozen=True):
    """The Secret's record: what is in it. Never printed."""

    data: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"<Held {', '.join(sorted(self.data))}>"


class _Secret(msgspec.Struct):
    data: dict[str, bytes] | None = None  # msgspec reads bytes as base64


_secret = msgspec.json.Decoder(_Secret)


def keep(raw: bytes) -> Held:
    """A Secret's record, for the reflector."""
    return Held(_secret.decode(raw).data or {})


class Keeper:
    """One replica's CA. `held`: the Secret as last seen, None when there is none; asked only once `known`."""

    def __init__(
        self,
        api: ApiServer,
        namespace: str,
        trust_domain: str,
        held: Callable[[], Held | None],
        known: asyncio.Event,
        *,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._trust_domain = trust_domain
        self._held = held
        self._known = known
        self._again_seconds = again_seconds
        # what it has
        self.trust: Trust | None = None
        self.loaded = asyncio.Event()  # there is a trust, and from then on always
        self.fault = ""  # why what lies in the Secret is not what is used
        self.changes = 0
        self._watching: list[Callable[[Trust], None]] = []
        self._bell = Bell()

    def watch(self, changed: Callable[[Trust], None]) -> None:
        """Calls `changed` with each new trust; at once when there is one already."""
        self._watching.append(changed)
        if self.trust is not None:
            changed(self.trust)

    def current(self) -> Trust:
        """What signs and is trusted now; asked only once `loaded`."""
        assert self.trust is not None
        return self.trust

    def ring(self) -> None:
        """The Secret may have changed."""
        self._bell.ring()

    async def run(self) -> None:
        """Follows the Secret, and makes it where there is none, until cancelled."""
        await self._known.wait()
        while True:
            held = self._held()
            if held is not None:
                self._judge(held)
            absent = held is None and not await self._make()
            await self._bell.heard(self._again_seconds if absent else LOOK_SECONDS)

    def _judge(self, held: Held) -> None:
        try:
            trust = roots.load(held.data, dt.datetime.now(dt.UTC))
        except Unfit as unfit:
            self._tell(f"the Secret {SECRET} cannot be used: {unfit}")
            return
        self._tell("")
        if self.trust is not None and _same(trust, self.trust):
            return
        self.trust = trust
        self.changes += 1
        log.info(
            "the CA signs with %s; trusted are %s",
            fingerprint(trust.signing.certificate), ", ".join(map(fingerprint, trust.bundle)),
        )  # fmt: skip
        for changed in self._watching:
            changed(trust)
        self.loaded.set()

    async def _make(self) -> bool:
        """Puts one where there is none; False: it has to be tried again."""
        if self.trust is not None:
            log.warning("the Secret %s is gone: it is put back as it was", SECRET)
        trust = self.trust or Trust(roots.create(self._trust_domain, dt.datetime.now(dt.UTC)))
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "labels": LABELS},
            "type": "Opaque",
            "data": {name: base64.b64encode(text).decode() for name, text in roots.dump(trust).items()},
        }
        try:
            await self._api.send("POST", self._path, body)
        except Refused as refused:
            if refused.reason == "AlreadyExists":  # another replica was faster: its Secret will be seen
                return True
            self._tell(f"the Secret {SECRET} cannot be made: {refused}")
            return False
        except FAILURES as fault:
            self._tell(f"the Secret {SECRET} cannot be made: {str(fault) or type(fault).__name__}")
            return False
        log.info("the Secret %s is made, with the root %s", SECRET, fingerprint(trust.signing.certificate))
        return True

    def _tell(self, fault: str) -> None:
        if fault and fault != self.fault:
            log.error("%s%s", fault, "; the last good one serves on" if self.trust is not None else "")
        elif self.fault and not fault:
            log.info("the Secret %s can be used", SECRET)
        self.fault = fault

    def expiries(self) -> dict[tuple[str, str], float]:
        """(use, fingerprint) → when that root ends, in seconds since 1970."""
        if self.trust is None:
            return {}
        following = (("next", self.trust.next.certificate),) if self.trust.next is not None else ()
        uses = (("signing", self.trust.signing.certificate), *following, *(("old", old) for old in self.trust.old))
        return {(use, fingerprint(root)): root.not_valid_after_utc.timestamp() for use, root in uses}


def _same(one: Trust, other: Trust) -> bool:
    """Keys are objects without equality; their certificates say which they are."""
    return one.bundle == other.bundle and (one.next is None) == (other.next is None)
