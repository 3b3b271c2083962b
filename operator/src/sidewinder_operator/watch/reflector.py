"""One kind of object as the API server has it, kept as slim records that outlive every failure of the way there.

Run by `main`, one task a kind; `collect` reads `records`. The rules:
1. Without a position it asks for everything: WatchList, or a paged LIST where the server does not know that.
2. What was there and is not in that answer was deleted meanwhile. This is said only when the answer was whole.
3. With a position (a resourceVersion, moved on by events and bookmarks) it watches from there.
4. 410: the position is forgotten, and 1 follows at once. Any other failure: a pause that doubles, with jitter, and 3
   with the same position; after several in a row 1, since the server may also never have heard of the position.
5. Nothing that fails empties the records. `age` says how old what is known may be.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, NoReturn, TypeVar

import aiohttp
import msgspec

from sidewinder_operator.apiserver import CONNECT_SECONDS, FAILURES, ApiServer, Refused, refusal
from sidewinder_operator.watch.clock import Clock, Monotonic

log = logging.getLogger("sidewinder.watch")

Record = TypeVar("Record")

INACTIVITY_SECONDS = 75.0  # bookmarks come about once a minute: more silence than that is a dead connection
PAGE = 500  # objects a page of LIST, as client-go and kubectl ask
SHORTEST_PAUSE = 0.2  # a cut stream is nothing unusual: be back at once
LONGEST_PAUSE = 10.0  # of an API server that is away; when it is back, this is how late that is noticed
DOUBTFUL = 5  # failures in a row after which the position is doubted too (an etcd restored from a backup)
WATCH_SECONDS = (290, 590)  # the server ends each watch after a while, not all at one time
WHOLE = "k8s.io/initial-events-end"  # the annotation of the bookmark behind the last object of a WatchList
_UNKNOWN_WATCH_LIST = frozenset({400, 422})


class Gone(Exception):
    """410: the position is too old."""


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class _Head(msgspec.Struct, gc=False):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    code: int = 0  # of a metav1.Status, which has no uid


class _Event(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


class _Page(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    more: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _Page
    items: list[msgspec.Raw] | None = None


_event = msgspec.json.Decoder(_Event)
_head = msgspec.json.Decoder(_Head)
_list = msgspec.json.Decoder(_List)


class Reflector(Generic[Record]):
    """The objects under `path`. `keep` makes an object's record of its JSON; None: nothing of it matters.

    `fields` selects some of them: who may read only one by its name asks with `metadata.name=…`.
    """

    def __init__(
        self,
        api: ApiServer,
        path: str,
        keep: Callable[[bytes], Record | None],
        changed: Callable[[], None],
        *,
        fields: str = "",
        clock: Clock | None = None,
        inactivity: float = INACTIVITY_SECONDS,
        page: int = PAGE,
    ) -> None:
        # what it was made for
        self.path = path
        self._selected = {"fieldSelector": fields} if fields else {}
        self._api = api
        self._keep = keep
        self._changed = changed
        self._clock = clock or Monotonic()
        self._inactivity = inactivity
        self._page = page
        # what it knows
        self.records: dict[str, Record] = {}  # by uid
        self.synced = asyncio.Event()  # the records were whole once
        self._position = ""
        self._watch_list = True
        self._present: set[str] | None = None  # uids of an answer to "everything" that is not whole yet
        # how it goes
        self.failures = 0
        self.relists = 0
        self.events = 0
        self._heard = self._clock.now()
        self._in_a_row = 0

    def __repr__(self) -> str:
        state = f"at {self._position}" if self._position else "without a position"
        return f"<Reflector {self.path}: {len(self.records)} records, {state}, {self._in_a_row} failures in a row>"

    @property
    def age(self) -> float:
        """Seconds since the API server was heard of: what is known may be that old."""
        return self._clock.now() - self._heard

    async def run(self) -> None:
        """Follows, until cancelled."""
        while True:
            try:
                await self._follow()
            except Gone:
                self._position = ""
                self.failures += 1
                self._in_a_row += 1
            except FAILURES as fault:
                self._on_failure(fault)
            self._present = None
            await self._clock.sleep(self._pause())

    async def _follow(self) -> None:
        """One stream, to its end."""
        if not self._position and not self._watch_list:
            await self._list()
        everything = {} if self._position else {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        self._present = None if self._position else set()
        try:
            # Closed at once when an event raises: an abandoned generator would keep its connection for a while.
            async with aclosing(self._lines({**everything, "resourceVersion": self._position})) as lines:
                async for line in lines:
                    self._on_event(_event.decode(line))
        except Refused as refused:
            if refused.status not in _UNKNOWN_WATCH_LIST or self._position:
                raise
            log.info("%s: the API server knows no WatchList: pages instead", self.path)
            self._watch_list = False
            return
        if self._present is not None:
            log.info("%s: the stream ended without saying that it was whole: pages instead", self.path)
            self._watch_list = False
        self._on_progress()

    # ── what comes ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _lines(self, query: dict[str, str]) -> AsyncGenerator[bytes, None]:
        asked = {
            **{name: value for name, value in query.items() if value},
            **self._selected,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self._inactivity)
        async with self._api.stream(self.path, asked, timeout) as response:
            if response.status != 200:
                self._refuse(refusal(response.status, await response.read()))
            rest = bytearray()
            async for chunk in response.content.iter_any():
                self._heard = self._clock.now()
                rest += chunk
                *lines, last = rest.split(b"\n")
                for line in lines:
                    yield bytes(line)
                rest = last

    async def _list(self) -> None:
        """All pages, or none: a half answer proves nobody's absence."""
        self._present = set()
        query = {"limit": str(self._page), **self._selected}
        while True:
            try:
                answer = _list.decode(await self._api.send("GET", self.path, query=query))
            except Refused as refused:
                self._refuse(refused)
            self._on_progress()
            for item in answer.items or ():
                self._put(_head.decode(item).metadata.uid, bytes(item))
            if not answer.metadata.more:
                break
            query["continue"] = answer.metadata.more
        self._on_whole(answer.metadata.resource_version)

    def _refuse(self, refused: Refused) -> NoReturn:
        if refused.status == 410:
            raise Gone from refused
        raise refused

    def _on_event(self, event: _Event) -> None:
        head = _head.decode(event.object)
        position = head.metadata.resource_version
        match event.type:
            case "ERROR":
                self._refuse(refusal(head.code, bytes(event.object)))
            case "BOOKMARK":
                if self._present is not None and (head.metadata.annotations or {}).get(WHOLE) == "true":
                    self._on_whole(position)
            case "DELETED":
                self._drop(head.metadata.uid)
            case _:
                self._put(head.metadata.uid, bytes(event.object))
        self.events += 1
        self._on_progress()
        if self._present is None:
            self._position = position

    # ── what is kept ──────────────────────────────────────────────────────────────────────────────────────────────

    def _put(self, uid: str, raw: bytes) -> None:
        if self._present is not None:
            self._present.add(uid)
        record = self._keep(raw)
        if record is None:
            self._drop(uid)
        elif self.records.get(uid) != record:
            self.records[uid] = record
            self._changed()

    def _drop(self, uid: str) -> None:
        if self.records.pop(uid, None) is not None:
            self._changed()

    def _on_whole(self, position: str) -> None:
        """Everything has come: what has not is not there any more."""
        assert self._present is not None
        for uid in self.records.keys() - self._present:
            self._drop(uid)
        self._present = None
        self._position = position
        self.relists += 1
        if not self.synced.is_set():
            self.synced.set()
            self._changed()

    # ── how it goes ───────────────────────────────────────────────────────────────────────────────────────────────

    def _on_progress(self) -> None:
        self._heard = self._clock.now()
        if self._in_a_row > 1:
            log.info("%s: the API server answers again after %d failures", self.path, self._in_a_row)
        self._in_a_row = 0

    def _on_failure(self, fault: BaseException) -> None:
        self.failures += 1
        self._in_a_row += 1
        if self._in_a_row == 2:  # one alone is how every watch may end
            why = str(fault) or type(fault).__name__
            log.warning("%s: %s; what is known serves on, %.0f s old", self.path, why, self.age)
        if self._in_a_row >= DOUBTFUL:
            self._position = ""

    def _pause(self) -> float:
        return float(min(SHORTEST_PAUSE * 2 ** min(self._in_a_row, 16), LONGEST_PAUSE) * random.uniform(0.5, 1.5))
