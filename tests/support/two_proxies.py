"""Two proxies in one loop, on uvloop and over real sockets: one calls with mTLS, the other ends it.

The caller's connections are plain TCP to the first; both listeners take what was redirected, and are told whereto.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sidewinder_sidecar.downstream import tcp
from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.messages import Call, Peer, Relayed
from sidewinder_sidecar.plan.build import build
from sidewinder_sidecar.proxy import Proxy
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import KINDS
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.tls.keyring import Keyring
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel

CLUSTER, PORT = "10.96.0.7", 9080
REVIEWS = "spiffe://cluster.local/ns/shop/sa/reviews"
WEB = "spiffe://cluster.local/ns/shop/sa/web"


def keys(folder: Path, **more: Any) -> Keyring:
    """A keyring with the identity in a folder."""
    keyring = Keyring(**more)
    renew(keyring, folder)
    return keyring


def renew(keyring: Keyring, folder: Path) -> None:
    pair = (str(folder / "certificate.pem"), str(folder / "key.pem"))
    keyring.renew(pair, (folder / "bundle.pem").read_text())


class One:
    """A proxy with one redirected listener and one service."""

    def __init__(
        self, keyring: Keyring, direction: str, to: EndpointSpec, limits: Limits, wheel: Wheel, **service: Any
    ) -> None:
        self.keyring = keyring
        self.endpoints: list[Endpoint] = []
        self.calls: list[Call] = []
        self.relayed: list[Relayed] = []
        self.limits = limits
        self.proxy = Proxy(Fleet(wheel, self._make), wheel, self.calls.append, limits)
        self.proxy.record_relayed = self.relayed.append
        self.proxy.keyring = keyring
        body = ServiceSpec(
            name="shop/reviews:9080", namespace="shop", port=PORT, domains=("reviews",), addresses=(CLUSTER,),
            backend="v1", **service,
        )  # fmt: skip
        listener = ListenerSpec(
            name="a", direction=direction, address="127.0.0.1", port=15001, transparent=True, pass_through=True
        )  # fmt: skip
        bodies = [
            ProxySpec(name="test", namespace="shop", trace_percent=0.0), listener, body,
            BackendSpec(name="v1", endpoints="v1", service="v1"), EndpointsSpec(name="v1", endpoints=(to,)),
        ]  # fmt: skip
        snapshot = {f"{KINDS[type(one)]}/{getattr(one, 'name', 'self')}": one for one in bodies}
        snapshot["proxy/self"] = snapshot.pop("proxy/test")
        steps = build(snapshot, self.proxy.fleet, self.proxy.plan)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                self.proxy.adopt(done.value)
                break
        self.listener = Listener(self.proxy, "a", "127.0.0.1", 0)
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Take connections as if they came redirected; gives the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._arrive, "127.0.0.1", 0)
        self.listener.port = self._server.sockets[0].getsockname()[1]
        return self.listener.port

    def _arrive(self) -> Any:
        peer = Peer("127.0.0.1", 40000)
        peer.destination = (CLUSTER, PORT)
        return tcp.Connection(self.listener, "", peer)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.listener.close()
        self.proxy.fleet.close()

    def _make(self, spec: EndpointSpec, seconds: float) -> Endpoint:
        made = Endpoint(spec, self.limits, self.proxy.wheel, seconds, self.keyring)
        self.endpoints.append(made)
        return made


@asynccontextmanager
async def proxies(
    app: int,
    calling: Keyring,
    called: Keyring,
    *,
    expected: str = REVIEWS,
    limits: Limits | None = None,
    wheel: Wheel | None = None,
    **service: Any,
) -> AsyncIterator[tuple[One, One]]:
    """The calling and the called one, open. Their time is the loop's, or that of one wheel."""
    limits = limits or Limits()
    wheel = Wheel.of(asyncio.get_running_loop()) if wheel is None else wheel
    inside = One(called, "Inbound", EndpointSpec(uid="app", address="127.0.0.1", port=app), limits, wheel, **service)
    to = EndpointSpec(uid="pod", address="127.0.0.1", port=await inside.open(), identity=expected)
    outside = One(calling, "Outbound", to, limits, wheel, **service)
    await outside.open()
    try:
        yield outside, inside
    finally:
        for one in (outside, inside):
            one.close()
