"""A configuration put to work: built beside the running one, listeners opened, then swapped in one step.

`Configuration.apply` is what discovery calls; a kept or a fixed configuration goes the same way. Only one is applied at
a time. Raises Refusal for what cannot serve; then everything is as it was.
"""

from __future__ import annotations

import asyncio
import gc
import logging

import msgspec

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.discovery.transaction import Held, Refusal, decode
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.main.listeners import Listeners
from sidewinder_sidecar.plan import Refused, prepare
from sidewinder_sidecar.snapshot import Resource

log = logging.getLogger("sidewinder")


class Configuration:
    """What serves, and how the next one gets there."""

    def __init__(self, proxy: Proxy, listeners: Listeners) -> None:
        self._proxy = proxy
        self._listeners = listeners
        self._turn = asyncio.Lock()
        self.resources: dict[str, Resource] = {}
        self.state = ""
        self.applied = 0

    async def apply(self, resources: dict[str, Resource]) -> None:
        """Serve this from now on. Raises Refusal."""
        async with self._turn:
            proxy = self._proxy
            try:
                plan = await prepare(resources, proxy.fleet, proxy.plan)
            except Refused as fault:
                raise Refusal(fault.resource, fault.field, fault.why) from None
            following = await self._listeners.prepare(one.spec for one in plan.listeners.values())
            proxy.adopt(plan)
            self._listeners.follow(following)
            self.resources = resources
            self.applied += 1
        if self.applied == 1:
            settle()
        log.info("serving %r", proxy.plan)


def settle() -> None:
    """What exists now stays for the process's life: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


def load(path: str) -> Held:
    """A fixed configuration from a file of `{resource name: body}`. Raises Refusal."""
    try:
        with open(path, "rb") as file:
            bodies = msgspec.json.decode(file.read(), type=dict[str, msgspec.Raw])
    except OSError as fault:
        raise Refusal("", "", f"{path}: {fault.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Refusal("", "", f"{path}: no JSON object of resources: {fault}") from None
    resources = {name: decode(name, bytes(raw)) for name, raw in bodies.items()}
    return Held(resources, {name: snapshot.version(snapshot.encode(body)) for name, body in resources.items()})
