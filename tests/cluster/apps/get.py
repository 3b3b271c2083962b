"""One request and its answer on standard output, for `kubectl exec`.

Called by __main__.py; calls load.py's encoding and http1.py. Fails if the status is not the wanted one.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from . import http1
from .load import Job


async def fetch(job: Job) -> http1.Message:
    place = urlsplit(job.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port or 80, limit=http1.HEAD_LIMIT)
    try:
        writer.write(job.encode(None))
        return await asyncio.wait_for(http1.read_response(reader, job.method), job.timeout)
    finally:
        writer.close()


def get(job: Job) -> str:
    """The answer's body; an unwanted status ends the program with what came instead."""
    answer = asyncio.run(fetch(job))
    text = answer.body.decode("utf-8", "replace")
    if answer.start[1] not in job.statuses:
        raise SystemExit(f"status {answer.start[1]}: {text}")
    return text
