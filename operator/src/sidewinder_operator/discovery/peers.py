"""The other replicas: found among the operator's own endpoints, each asked for what its streams have told.

One stream to each (`report`); what comes goes to `Acks`. What a replica told holds on for a moment after its stream was
cut, so that a restart does not shake every status; `unsure` says that it is such a moment. After that nothing of it
counts, and `unheard` names it. Run by `main` in every replica; `tls` and the address come from there, too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Iterable, Mapping

import aiohttp
import msgspec

from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.discovery.report import Reading
from sidewinder_operator.resources.core import SERVICE_NAME, EndpointSlice
from sidewinder_sidecar.snapshot import stream

log = logging.getLogger("sidewinder.peers")

PORT = "discovery"  # the name of the port in the EndpointSlices
LOOK_SECONDS = 1.0  # how often the endpoints are looked at, and the grace of who is silent
GRACE_SECONDS = 5.0  # a container restarts in two; a status need not shake for that
SILENCE_SECONDS = 15.0  # three pings
CONNECT_SECONDS = 5.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
MOST_PEERS = 32
FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError, stream.Malformed)


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Another replica. `serving`: it takes streams; one that leaves does so only until it has gone."""

    uid: str
    name: str
    address: str
    port: int
    serving: bool = True
    terminating: bool = False


def found(slices: Iterable[EndpointSlice], namespace: str, service: str, own: str) -> dict[str, Peer]:
    """The replicas behind a headless Service, by uid, without the pod `own`. Of several addresses the first counts."""
    peers: dict[str, Peer] = {}
    for each in sorted(slices, key=lambda each: (each.address_type, each.name)):
        if each.metadata.namespace != namespace or each.metadata.labels.get(SERVICE_NAME) != service:
            continue
        port = next((port.port for port in each.ports if port.name == PORT and port.port is not None), None)
        for endpoint in each.endpoints:
            pod, holds = endpoint.target_ref, endpoint.conditions
            if port is None or pod is None or pod.name == own or pod.uid in peers or len(peers) >= MOST_PEERS:
                continue
            peers[pod.uid] = Peer(
                uid=pod.uid,
                name=pod.name,
                address=endpoint.addresses[0],
                port=port,
                serving=holds.serving if holds.serving is not None else holds.ready is not False,
                terminating=bool(holds.terminating),
            )
    return peers


class _Stream:
    """What is known of one peer's stream."""

    def __init__(self, peer: Peer, now: float) -> None:
        self.peer = peer
        self.synced = False
        self.ever = False  # it was synced once: it has streams, whatever its readiness says
        self.since = now  # of not being synced
        self.task: asyncio.Task[None] | None = None

    def missing(self) -> bool:
        """Its word counts, and is not known. A replica that has never served has no streams."""
        return not self.synced and not self.peer.terminating and (self.peer.serving or self.ever)


class Peers:
    """One stream to each other replica. `look` says which there are; `changed` is called when `unheard` changes."""

    def __init__(
        self,
        acks: Acks,
        look: Callable[[], Mapping[str, Peer]],
        tls: Callable[[], ssl.SSLContext | None],
        *,
        server_name: str = "",
        who: str = "",
        changed: Callable[[], None] = lambda: None,
        look_seconds: float = LOOK_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._acks = acks
        self._look = look
        self._tls = tls
        self._server_name = server_name
        self._who = who
        self._changed = changed
        self._look_seconds = look_seconds
        self._grace_seconds = grace_seconds
        self._silence_seconds = silence_seconds
        self._streams: dict[str, _Stream] = {}
        self._told: tuple[tuple[str, ...], bool] = ((), False)
        self.failures = 0

    def __repr__(self) -> str:
        synced = sum(each.synced for each in self._streams.values())
        return f"<Peers: {synced} of {len(self._streams)} synced>"

    # ── what is asked ─────────────────────────────────────────────────────────────────────────────────────────────

    def unheard(self) -> tuple[str, ...]:
        """The replicas whose word is missing for longer than a moment, by name."""
        now = asyncio.get_running_loop().time()
        late = (each for each in self._streams.values() if each.missing() and now - each.since >= self._grace_seconds)
        return tuple(sorted(each.peer.name for each in late))

    def unsure(self) -> bool:
        """A replica's word has been missing for a moment."""
        now = asyncio.get_running_loop().time()
        return any(each.missing() and now - each.since < self._grace_seconds for each in self._streams.values())

    def apart(self) -> float:
        """For how many seconds nothing at all has been heard of those whose word is missing; 0: nobody's is."""
        now = asyncio.get_running_loop().time()
        return min((now - each.since for each in self._streams.values() if each.missing()), default=0.0)

    def synced(self) -> dict[str, bool]:
        """Replica → whether its word is known."""
        return {each.peer.name: each.synced for each in self._streams.values()}

    # ── the work ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled."""
        # Every connection is its own: a stream lasts, and a certificate that was renewed is used by the next one.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=self._silence_seconds
        )
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                while True:
                    self._compare(session)
                    await asyncio.sleep(self._look_seconds)
            finally:
                for uid in [*self._streams]:
                    self._end(uid)

    def _compare(self, session: aiohttp.ClientSession) -> None:
        """Streams to those who are there and to nobody else; who was silent for too long does not count any more."""
        peers, now = self._look(), asyncio.get_running_loop().time()
        for uid in self._streams.keys() - peers.keys():
            self._end(uid)
        for uid, peer in peers.items():
            known = self._streams.get(uid)
            if known is not None and (known.peer.address, known.peer.port) == (peer.address, peer.port):
                known.peer = peer
            else:
                self._end(uid)
                known = self._streams[uid] = _Stream(peer, now)
            if known.task is None or known.task.done():
                known.task = asyncio.create_task(self._follow(session, known), name=f"acks of {peer.name}")
            if not known.synced and now - known.since >= self._grace_seconds:
                self._acks.forget(uid)
        self._tell()

    def _end(self, uid: str) -> None:
        known = self._streams.pop(uid, None)
        if known is not None and known.task is not None:
            known.task.cancel()
        self._acks.forget(uid)

    def _tell(self) -> None:
        told = self.unheard(), self.unsure()
        if told != self._told:
            if told[0] != self._told[0]:
                log.warning("replicas that cannot be asked: %s", ", ".join(told[0]) or "none any more")
            self._told = told
            self._changed()

    async def _follow(self, session: aiohttp.ClientSession, known: _Stream) -> None:
        """One peer, again and again."""
        pause = SHORTEST_PAUSE
        while True:
            why = "its stream has ended"
            try:
                await self._once(session, known)
            except FAILURES as fault:
                why = str(fault) or type(fault).__name__
            except Exception:  # a bug of ours is seen, and the others' streams go on
                log.exception("the stream of %s", known.peer.name)
                why = "a bug"
            if known.synced:
                log.warning("the acknowledgements of %s are not heard any more: %s", known.peer.name, why)
                known.synced, known.since = False, asyncio.get_running_loop().time()
                pause = SHORTEST_PAUSE
            self.failures += 1
            self._tell()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _once(self, session: aiohttp.ClientSession, known: _Stream) -> None:
        """One stream, to its end."""
        peer, tls = known.peer, self._tls()
        host = f"[{peer.address}]" if ":" in peer.address else peer.address
        url = f"{'http' if tls is None else 'https'}://{host}:{peer.port}/acks"
        how = {} if tls is None else {"ssl": tls, "server_hostname": self._server_name or None}
        async with session.get(url, params={"replica": self._who}, **how) as response:  # type: ignore[arg-type]
            if response.status != 200:
                raise stream.Malformed(f"{response.status}: {(await response.content.read(200))!r}")
            await self._read(response, known)

    async def _read(self, response: aiohttp.ClientResponse, known: _Stream) -> None:
        reading, rest = Reading(self._acks.wanted), bytearray()
        async for chunk in response.content.iter_any():
            rest += chunk
            *lines, last = rest.split(b"\n")
            if len(last) > stream.LONGEST_LINE:
                raise stream.Malformed(f"a line of more than {stream.LONGEST_LINE} bytes")
            news: dict[str, Having | None] = {}
            for line in lines:
                if (told := reading.read(bytes(line))) is not None:
                    news[told[0]] = told[1]
            rest = last
            self._on_news(reading, known, news)

    def _on_news(self, reading: Reading, known: _Stream, news: Mapping[str, Having | None]) -> None:
        """Nothing counts before the picture is whole; then it takes the place of the one before."""
        if known.synced:
            self._acks.hear(known.peer.uid, news)
            self._acks.hear_rest(known.peer.uid, *reading.rest())
        elif reading.synced:
            known.synced = known.ever = True
            maybe, sworn, _ = reading.rest()
            self._acks.replace(known.peer.uid, reading.pods, maybe, sworn)
            log.info("the acknowledgements of %s are known: %d proxies", known.peer.name, len(reading.pods))
            self._tell()
