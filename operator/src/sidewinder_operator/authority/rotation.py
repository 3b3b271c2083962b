"""Another root for the mesh, without a failed request: the three stages of `root`, each when the evidence allows it.

Asked for by an annotation on the CA's Secret (`sidewinder rotate-root` writes it), done by the leader, who writes next
to it how far it has come. All that counts lies in the Secret, so that any leader goes on where another one stopped.

1. announced: everybody is told of the next root. It lasts until all bundles name it and all proxies trust it.
2. switched: the next root signs. It lasts until every proxy has a certificate of it; they renew within minutes.
3. done: the old root is forgotten.

Proxies that are not heard of hold each stage up, but not for ever: kubelets bring a bundle in two minutes to wherever
they run, and no certificate outlives a day. Somebody's own root is taken when it lies in the Secret as the next one.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from sidewinder_operator.apiserver import FAILURES, JSON, MERGE, ApiServer, Refused
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.keeper import SECRET
from sidewinder_operator.authority.root import NEXT, OLD, SIGNING, Trust, Unfit, fingerprint
from sidewinder_operator.authority.sign import LIFETIME

log = logging.getLogger("sidewinder.authority")

REQUEST = "sidewinder.dev/rotate"  # annotation: who asks again writes another value
PROGRESS = "sidewinder.dev/rotation"  # annotation: a Progress
LOOK_SECONDS = 5.0
SETTLE_SECONDS = 30.0  # between the evidence and the step: replicas and API servers learn of it, too
STRAGGLERS = dt.timedelta(hours=1)  # a proxy that nobody has heard of does not hold up stage 1 any longer
MARGIN = dt.timedelta(minutes=10)  # of clocks, after the last certificate of the old root has ended
LONGEST_WAITS = 1024  # characters of what people are told
MOST_NAMED = 5
Stage = Literal["", "announced", "switched", "done"]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the request `request` has come; `since`: when its stage began; `waits`: for what it waits, for people."""

    request: str = ""
    stage: Stage = ""
    since: str = ""
    waits: str = ""


class Evidence(NamedTuple):
    """Who has not done what a stage needs. `bundles`: namespaces; `proxies`: pods; `replicas`: of the operator."""

    required: int = 0
    bundles: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()

    def missing(self) -> str:
        """In words; empty when nothing is."""
        found = []
        if self.replicas:
            found.append(f"replicas of the operator: {_some(self.replicas)}")
        if self.bundles:
            found.append(f"trust bundles in {_some(self.bundles)}")
        if self.proxies:
            found.append(f"{len(self.proxies)} of {self.required} proxies: {_some(self.proxies)}")
        return "; ".join(found)


class Step(NamedTuple):
    """What to do: another trust, or none; and what is said of it."""

    trust: Trust | None
    stage: Stage
    waits: str = ""


def step(trust: Trust, progress: Progress, evidence: Evidence, since: dt.datetime, now: dt.datetime) -> Step:
    """The next step of a rotation that is under way, or the same stage and what it waits for. Pure.

    `evidence` is about the stage that the trust is in: that all trust its bundle, and, once switched, that all have a
    certificate of the root that signs.
    """
    missing = evidence.missing()
    if trust.next is not None:
        late = not (evidence.bundles or evidence.replicas) and now - since >= STRAGGLERS
        if missing and not late:
            return Step(None, "announced", missing)
        return Step(roots.switch(trust), "switched")
    if trust.old:
        if missing and now - since < LIFETIME + MARGIN:
            return Step(None, "switched", missing)
        return Step(roots.forget(trust), "done")
    return Step(None, "done")


class Rotation:
    """A duty of the leader. `evidence` is asked with the trust that is to be everywhere."""

    def __init__(
        self,
        api: ApiServer,
        namespace: str,
        trust_domain: str,
        leader: Callable[[], bool],
        evidence: Callable[[Trust], Evidence],
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        look_seconds: float = LOOK_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{SECRET}"
        self._trust_domain = trust_domain
        self._leader = leader
        self._evidence = evidence
        self._now = now
        self._look_seconds = look_seconds
        self._settle = dt.timedelta(seconds=settle_seconds)
        self._whole: tuple[Stage, dt.datetime] | None = None  # nothing is missing since then
        self.progress = Progress()  # as last seen

    async def run(self) -> None:
        """Until cancelled."""
        self._whole = None
        while True:
            try:
                await self.once()
            except Unfit as unfit:
                log.warning("the rotation of the root waits: %s", unfit)
            except FAILURES as fault:
                log.warning("the rotation of the root waits: %s", str(fault) or type(fault).__name__)
            await asyncio.sleep(self._look_seconds)

    async def once(self) -> None:
        """One look. Raises FAILURES, and Unfit for a Secret that cannot be used."""
        try:
            secret = await self._api.get(self._path)
        except Refused as refused:
            if refused.status == 404:  # the keeper makes one
                return
            raise
        annotations: dict[str, str] = secret["metadata"].get("annotations") or {}
        request, self.progress = annotations.get(REQUEST, ""), read(annotations)
        if not request or (self.progress.request == request and self.progress.stage == "done"):
            return
        now = self._now()
        trust = roots.load({name: base64.b64decode(text) for name, text in (secret.get("data") or {}).items()}, now)
        if self.progress.request != request:
            await self._begin(secret, trust, request, now)
        else:
            await self._continue(secret, trust, now)

    async def _begin(self, secret: Any, trust: Trust, request: str, now: dt.datetime) -> None:
        """A new request. One that finds another rotation half done ends that one."""
        if trust.next is None and not trust.old:
            following = roots.create(self._trust_domain, now)
            log.warning("the root %s is announced; it will sign later", fingerprint(following.certificate))
            trust = roots.announce(trust, following)
        stage: Stage = "announced" if trust.next is not None else "switched"
        await self._put(secret, trust, Progress(request=request, stage=stage, since=_text(now)))

    async def _continue(self, secret: Any, trust: Trust, now: dt.datetime) -> None:
        since = _time(self.progress.since) or now
        done = step(trust, self.progress, self._evidence(trust), since, now)
        if done.stage == self.progress.stage:
            self._whole = None
            await self._say(done.waits)
            return
        if self._whole is None or self._whole[0] != done.stage:
            self._whole = done.stage, now
        left = self._settle - (now - self._whole[1])
        if done.trust is not None and left > dt.timedelta():
            await self._say("all have it: it settles")
            return
        await self._put(
            secret, done.trust or trust, Progress(request=self.progress.request, stage=done.stage, since=_text(now))
        )
        log.warning("the rotation of the root is %s", done.stage)

    async def _put(self, secret: Any, trust: Trust, progress: Progress) -> None:
        """Trust and progress at once, and nothing if somebody else has written meanwhile."""
        data = {name: text for name, text in (secret.get("data") or {}).items() if name not in _OURS}
        secret["data"] = data | {name: base64.b64encode(text).decode() for name, text in roots.dump(trust).items()}
        secret["metadata"].setdefault("annotations", {})[PROGRESS] = msgspec.json.encode(progress).decode()
        if self._leader():
            await self._api.send("PUT", self._path, secret, kind=JSON)
            self.progress, self._whole = progress, None

    async def _say(self, waits: str) -> None:
        """Told in the annotation, when it is news."""
        progress = msgspec.structs.replace(self.progress, waits=waits[:LONGEST_WAITS])
        if progress == self.progress or not self._leader():
            return
        body = {"metadata": {"annotations": {PROGRESS: msgspec.json.encode(progress).decode()}}}
        await self._api.send("PATCH", self._path, body, kind=MERGE)
        self.progress = progress


_OURS = frozenset({*SIGNING, *NEXT, OLD})


def read(annotations: Mapping[str, str]) -> Progress:
    """What a Secret's annotations say of a rotation; nothing where that cannot be read."""
    try:
        return msgspec.json.decode(annotations.get(PROGRESS, "{}"), type=Progress)
    except msgspec.DecodeError:
        return Progress()


def _text(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
