"""POST /enrol: a pod's projected token and a signing request in, a certificate and the trust bundle out.

Served by `main`; calls `review` for who asks and `sign` for the leaf. Checked in this order, each with its refusal:

1. how many others are being answered, and whether this address has shown bad tokens too often;
2. size, time and shape of the request;
3. the token, by the API server;
4. the pod it is bound to, in this replica's own cache;
5. the budget of signatures, and the request itself.

Nothing that a stranger sends is kept, and no token is ever logged.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec
from aiohttp import web

from sidewinder_operator.apiserver import FAILURES, ApiServer
from sidewinder_operator.authority.review import Denied, Holder, review
from sidewinder_operator.authority.root import Trust
from sidewinder_operator.authority.sign import LIFETIME, LONGEST_REQUEST, Budget, Identity, Refused, sign

log = logging.getLogger("sidewinder.enrol")

LONGEST_BODY = LONGEST_REQUEST + 4096  # the request as a JSON string has its newlines escaped
LONGEST_TOKEN = 8192  # a bound token has 1 200 bytes
BODY_SECONDS = 5.0  # to send 500 bytes
POD_SECONDS = 2.0  # a pod that asks has been there for as long as its image took to start; watches lag by milliseconds
MOST_AT_ONCE = 256  # each waits for the API server, 5 ms when all is well
MOST_OF_ONE = 64  # of one address, which may be a node with all its pods behind it
MOST_ADDRESSES = 1024  # that are remembered for bad tokens
AWAY_SECONDS = 5  # Retry-After while the API server cannot be asked


class Pod(Protocol):
    """What is asked of a pod's record."""

    @property
    def namespace(self) -> str: ...
    @property
    def service_account(self) -> str: ...


class Refusal(Exception):
    """Not signed: the status, a word for metrics, and why. `after`: seconds until it may be different."""

    def __init__(self, status: int, reason: str, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.after = after


class _Asked(msgspec.Struct):
    request: str


class Who(NamedTuple):
    """What makes an identity of a token's holder."""

    trust_domain: str
    audience: str
    pod: Callable[[str], Pod | None]  # by its uid


_asked = msgspec.json.Decoder(_Asked)


class Enrolment:
    """The endpoint, for a replica that has a CA and knows the cluster's pods."""

    def __init__(
        self,
        api: ApiServer,
        trust: Callable[[], Trust],
        who: Who,
        *,
        budget: Budget | None = None,
        pod_seconds: float = POD_SECONDS,
        lifetime: dt.timedelta = LIFETIME,
        observe: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self._api = api
        self._trust = trust
        self._who = who
        self._budget = budget or Budget()
        self._pod_seconds = pod_seconds
        self._lifetime = lifetime
        self._observe = observe
        self._running: Counter[str] = Counter()  # by address
        self._news = asyncio.Event()
        self._lines = Budget(rate=2.0, burst=50.0)  # of the log: whoever sends nonsense must not fill it
        self._bad: OrderedDict[str, Budget] = OrderedDict()  # address → what it may still get wrong
        # how it goes
        self.signatures = 0
        self.refusals: Counter[str] = Counter()

    def ring(self) -> None:
        """Pods may have come."""
        self._news.set()

    async def serve(self, request: web.Request) -> web.Response:
        """The handler."""
        began = time.perf_counter()
        address = request.remote or ""
        try:
            self._admit(address)
            answer = await self._counted(request, address)
        except Refusal as refusal:
            return self._refused(refusal, address)
        self.signatures += 1
        self._observe(time.perf_counter() - began)
        return web.json_response(answer)

    async def _counted(self, request: web.Request, address: str) -> dict[str, str]:
        self._running[address] += 1
        try:
            return await self._enrol(request)
        finally:
            self._running[address] -= 1
            if not self._running[address]:
                del self._running[address]

    async def _enrol(self, request: web.Request) -> dict[str, str]:
        token, text = await _read(request)
        holder = await self._holder(token)
        if (wait := self._budget.take(time.monotonic())) > 0:
            raise Refusal(429, "budget", "too many certificates are asked for at this moment", wait)
        trust = self._trust()
        identity = Identity(self._who.trust_domain, holder.namespace, holder.service_account, holder.pod)
        try:
            certificate = sign(text.encode(), identity, trust, dt.datetime.now(dt.UTC), self._lifetime)
        except Refused as refused:
            raise Refusal(400, "request", str(refused)) from None
        log.info("%s is enrolled for pod %s", identity, holder.pod)
        return {"certificate": certificate.decode(), "bundle": trust.pem().decode()}

    def _admit(self, address: str) -> None:
        if self._running.total() >= MOST_AT_ONCE or self._running[address] >= MOST_OF_ONE:
            raise Refusal(503, "busy", "too many others are being enrolled at this moment", 1)
        bad = self._bad.get(address)
        if bad is not None and (wait := bad.wait(time.monotonic())) > 0:
            raise Refusal(429, "bad tokens", "this address has shown too many tokens that were not accepted", wait)

    async def _holder(self, token: str) -> Holder:
        try:
            holder = await review(self._api, token, self._who.audience)
        except Denied as denied:
            raise Refusal(401, denied.reason, str(denied)) from None
        except FAILURES as fault:
            log.warning("a token cannot be reviewed: %s", str(fault) or type(fault).__name__)
            raise Refusal(503, "API server", "the API server cannot be asked about the token", AWAY_SECONDS) from None
        pod = await self._found(holder.pod)
        if pod is None:
            raise Refusal(403, "pod", f"there is no running pod with the uid {holder.pod}", 1)
        if (pod.namespace, pod.service_account) != (holder.namespace, holder.service_account):
            raise Refusal(403, "pod", f"the pod {holder.pod} is not of {holder.namespace}/{holder.service_account}")
        return holder

    async def _found(self, uid: str) -> Pod | None:
        """The pod, as soon as this replica's watch has told of it."""
        until = time.monotonic() + self._pod_seconds
        while (pod := self._who.pod(uid)) is None and (left := until - time.monotonic()) > 0:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                pass
        return pod

    def _refused(self, refusal: Refusal, address: str) -> web.Response:
        self.refusals[refusal.reason] += 1
        if self._lines.take(time.monotonic()) == 0.0:
            log.info("%s is not enrolled: %s (%d)", address, refusal, refusal.status)
        if refusal.status in (401, 403):
            self._bad.setdefault(address, Budget(rate=1.0, burst=10.0)).take(time.monotonic())
            self._bad.move_to_end(address)
            if len(self._bad) > MOST_ADDRESSES:
                self._bad.popitem(last=False)
        answer = web.json_response({"error": str(refusal)}, status=refusal.status)
        if refusal.after:
            answer.headers["Retry-After"] = str(math.ceil(refusal.after))
        if refusal.status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer


async def _read(request: web.Request) -> tuple[str, str]:
    """The token and the signing request. Raises Refusal."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(401, "no token", "send the pod's token: Authorization: Bearer …")
    if len(token) > LONGEST_TOKEN:
        raise Refusal(401, "token", f"the token has more than {LONGEST_TOKEN} characters")
    try:
        body = await asyncio.wait_for(_body(request), BODY_SECONDS)
    except TimeoutError:
        raise Refusal(400, "body", f"the body did not come within {BODY_SECONDS:g} s") from None
    try:
        return token.strip(), _asked.decode(body).request
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Refusal(400, "body", f'the body must be {{"request": "<PEM>"}}: {fault}') from None


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise Refusal(413, "body", f"the body has more than {LONGEST_BODY} bytes")
    return bytes(body)
