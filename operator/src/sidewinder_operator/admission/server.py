"""The HTTP side of admission: bounded bodies in, AdmissionReviews out, every refusal with its reason. Run by `main`.

Plain aiohttp. What a review costs is bounded: the body by `MOST_BYTES`, the look at other objects by `OTHERS_SECONDS`,
in one thread, so that discovery in the same loop goes on beside a folder of a thousand routes.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from sidewinder_operator.admission import validate as validating
from sidewinder_operator.admission.mutate import Labels, mutate
from sidewinder_operator.admission.review import Answer, Request, Unreadable, decode, encode
from sidewinder_operator.admission.validate import Others
from sidewinder_operator.inject.options import Options

log = logging.getLogger("sidewinder.admission")

PORT = 9443
MOST_BYTES = 8 << 20  # a request to the API server has 3 MiB at most, and a review holds the object twice
BODY_SECONDS = 5.0  # the API server waits no longer for its answer either
OTHERS_SECONDS = 2.0  # of the five that the webhook has
SHUTDOWN_SECONDS = 5.0  # for reviews that run; each takes milliseconds
_JSON = "application/json"


class Admission:
    """One listening port. `observe` is told the seconds of each review."""

    def __init__(
        self,
        options: Options,
        labels: Labels,
        others: Others,
        *,
        observe: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self._options = options
        self._labels = labels
        self._others = others
        self._observe = observe
        self._looking = ThreadPoolExecutor(1, "others")
        self._runner: web.AppRunner | None = None
        self.address: tuple[str, int] = ("", 0)
        self.outcomes: Counter[tuple[str, str]] = Counter()  # (path, admitted | refused | unreadable)

    async def open(self, address: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen. Raises OSError."""
        application = web.Application(client_max_size=MOST_BYTES)
        application.router.add_post("/mutate", self._answering("mutate", self._mutate))
        application.router.add_post("/validate", self._answering("validate", self._validate))
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handle_signals=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=tls, reuse_address=True).start()
        self.address = self._runner.addresses[0][:2]

    async def close(self) -> None:
        """Listen no more; what runs is finished."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._looking.shutdown(wait=False, cancel_futures=True)

    def _answering(
        self, path: str, answer: Callable[[Request], Awaitable[Answer]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(asked: web.Request) -> web.Response:
            began = time.perf_counter()
            if asked.content_type != _JSON:
                return self._unreadable(path, 415, f"send {_JSON}, not {asked.content_type}")
            try:
                request = decode(await asyncio.wait_for(asked.read(), BODY_SECONDS))
            except TimeoutError:
                return self._unreadable(path, 408, f"the body did not come within {BODY_SECONDS:g} s")
            except web.HTTPRequestEntityTooLarge:
                return self._unreadable(path, 413, f"a review has at most {MOST_BYTES} bytes")
            except Unreadable as fault:
                return self._unreadable(path, 400, str(fault))
            given = await answer(request)
            self.outcomes[path, "refused" if given.refused else "admitted"] += 1
            if given.refused:
                log.info("%s %s/%s is refused: %s", request.kind.kind, request.namespace, request.name, given.refused)
            self._observe(time.perf_counter() - began)
            return web.Response(body=encode(request, given), content_type=_JSON)

        return handle

    def _unreadable(self, path: str, status: int, why: str) -> web.Response:
        self.outcomes[path, "unreadable"] += 1
        return web.Response(status=status, text=f"{why}\n")

    async def _mutate(self, request: Request) -> Answer:
        return mutate(request, self._options, self._labels)

    async def _validate(self, request: Request) -> Answer:
        answer, found = validating.validate(request)
        if found is None:
            return answer
        try:
            looking = asyncio.get_running_loop().run_in_executor(self._looking, self._others, found)
            problems = await asyncio.wait_for(looking, OTHERS_SECONDS)
        except TimeoutError:
            log.warning("%s was not held against other objects within %g s", found.reference, OTHERS_SECONDS)
            late = "sidewinder: there was no time to look at other objects; its status will tell"
            return Answer(warnings=(*answer.warnings, late))
        return validating.warned(answer, problems)
