"""The load client: many requests to one echo, each answer checked against what was sent.

Called by __main__.py (in a pod) and the tests; calls http1.py and tally.py. A passed answer has a wanted status
and, from an echo, carries this request's own number, tells the size and the sum of this request's body, and is itself
what the echo has sent: an answer that belongs to another request, or of which a byte is wrong, is a failure. A
connection that the server closed while it was idle is tried once more and counted as `stale`, as every HTTP client
does it (RFC 9110, 9.2.2); nothing else is ever tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import time
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

from . import echo, http1
from .tally import Tally

NUMBER = "X-Load-Number"
IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")


@dataclasses.dataclass(frozen=True)
class Job:
    """What to send. Ends after `requests` or `seconds`, whichever is first, or when told to; zero is no bound."""

    url: str
    requests: int = 0
    seconds: float = 0
    concurrency: int = 8
    rate: float = 0  # of all workers together, a second; 0 is as fast as answers come
    method: str = "GET"
    body_bytes: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    statuses: tuple[str, ...] = ("200",)
    timeout: float = 10
    patience: float = 0  # seconds in which a first connection may fail: a node learns of a Service's pods with a delay
    reuse: bool = True
    echo: bool = True

    def encode(self, number: int | None) -> bytes:
        """A request of a load has a number; one that somebody looks with has none."""
        place = urlsplit(self.url)
        target = (place.path or "/") + (f"?{place.query}" if place.query else "")
        own = [("Host", place.netloc), *self.headers]
        own += [] if number is None else [(NUMBER, str(number))]
        own += [("Content-Length", str(self.body_bytes))] if self.body_bytes or self.method in ("POST", "PUT") else []
        own += [] if self.reuse else [("Connection", "close")]
        return http1.encode(f"{self.method} {target} HTTP/1.1", own, self.body(number))

    def body(self, number: int | None) -> bytes:
        """Each request has another one."""
        pattern = b"%d " % (number or 0)
        return (pattern * (self.body_bytes // len(pattern) + 1))[: self.body_bytes]


def judge(job: Job, number: int, answer: http1.Message) -> tuple[str, dict[str, object]]:
    """What is wrong with the answer, or nothing; and what an echo told."""
    if answer.start[1] not in job.statuses:
        return f"status {answer.start[1]}", {"answer": answer.body[:200].decode("utf-8", "replace")}
    if not job.echo or job.method == "HEAD":
        return "", {}
    try:
        told = json.loads(answer.body)
        numbers = [value for key, value in told["headers"] if key.lower() == NUMBER.lower()]
        size, content = told["body_bytes"], told["body_crc32"]
    except (ValueError, KeyError, TypeError):
        return "no echo", {"answer": answer.body[:200].decode("utf-8", "replace")}
    if numbers != [str(number)]:
        return "foreign answer", {"sent": number, "answered": numbers}
    if size != job.body_bytes or content != zlib.crc32(job.body(number)):
        return "body damaged", {"sent": job.body_bytes, "arrived": size}
    if (whole := answer.header(echo.WHOLE)) and whole != str(zlib.crc32(answer.body)):
        return "answer damaged", {"answered": len(answer.body)}
    return "", told


class Worker:
    """One connection at a time, one request after the other."""

    def __init__(self, job: Job, tally: Tally) -> None:
        self._job, self._tally = job, tally
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = urlsplit(self._job.url)
        return await asyncio.open_connection(place.hostname, place.port or 80, limit=http1.HEAD_LIMIT)

    async def _exchange(self, number: int) -> http1.Message:
        reused = self._streams is not None
        reader, writer = self._streams = self._streams or await self._connect()
        try:
            writer.write(self._job.encode(number))
            return await http1.read_response(reader, self._job.method)
        except (http1.Ended, ConnectionError):
            self.close()
            if not reused or self._job.method not in IDEMPOTENT:
                raise
        self._tally.stale += 1
        return await self._exchange(number)

    async def _attempt(self, number: int) -> tuple[http1.Message | None, str, dict[str, object]]:
        """The answer if one came, what is wrong, and what is known about it."""
        try:
            answer = await asyncio.wait_for(self._exchange(number), self._job.timeout)
        except TimeoutError:
            return None, "timeout", {}
        except (OSError, http1.Damaged, http1.Ended) as error:
            return None, type(error).__name__, {"error": str(error)}
        return answer, *judge(self._job, number, answer)

    async def send(self, number: int) -> None:
        """One request, judged. Whatever goes wrong is a failure of this request and costs its connection."""
        begin = time.perf_counter()
        answer, wrong, told = await self._attempt(number)
        if answer is None or not (answer.stays_open() and self._job.reuse):
            self.close()
        if answer is None or wrong:
            self._tally.failed(number, wrong, **told)
        else:
            pod, version = str(told.get("pod", "")), str(told.get("version", ""))
            self._tally.passed(answer.start[1], time.perf_counter() - begin, pod, version)

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None


async def _work(job: Job, tally: Tally, numbers: Iterator[int], stop: asyncio.Event, begin: float) -> None:
    worker = Worker(job, tally)
    for number in numbers:
        if job.rate and (early := begin + number / job.rate - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), early)
        if stop.is_set() or (job.seconds and time.monotonic() - begin >= job.seconds):
            break
        await worker.send(number)
    worker.close()


async def wait_for_server(job: Job) -> float:
    """Connect and send nothing, until that works or patience is at an end; the seconds it took."""
    begin, place = time.monotonic(), urlsplit(job.url)
    while (waited := time.monotonic() - begin) < job.patience:
        try:
            opening = asyncio.open_connection(place.hostname, place.port or 80)
            _, writer = await asyncio.wait_for(opening, job.patience - waited)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.05)
        else:
            writer.close()
            break
    return time.monotonic() - begin


async def run(job: Job, tally: Tally, stop: asyncio.Event | None = None) -> dict[str, object]:
    """All workers share one sequence of numbers; the summary when they are done, with what patience was needed."""
    waited = await wait_for_server(job)
    numbers = iter(range(job.requests)) if job.requests else itertools.count()
    asked, begin = stop or asyncio.Event(), time.monotonic()
    await asyncio.gather(*(_work(job, tally, numbers, asked, begin) for _ in range(job.concurrency)))
    return tally.summary() | {"waited": round(waited, 3)}
