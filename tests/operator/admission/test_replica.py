"""One replica's webhooks from start to end: it answers over TLS before the API server has said anything."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl

import aiohttp
import pytest
import uvloop

from sidewinder_operator.admission.replica import Replica
from sidewinder_operator.apiserver import Refused
from sidewinder_operator.authority import root as roots
from sidewinder_operator.inject.options import Options
from tests.operator.admission.test_server import JSON, review

TRUST = roots.Trust(roots.create("cluster.local", dt.datetime.now(dt.UTC)))


class Away:
    """An API server that is not there."""

    async def get(self, path):
        raise Refused(503, "Unavailable", "away")


def replica():
    return Replica(
        Options(image="x"), ("127.0.0.1",), Away(), lambda: TRUST, lambda: False, lambda namespace: {},
        lambda found: (), look_seconds=0.01,
    )  # fmt: skip


async def listening(part):
    for _ in range(500):
        if part.admission.address[1]:
            return part.admission.address
        await asyncio.sleep(0.01)
    raise AssertionError("it does not listen after 5 s")


def test_it_answers_and_ends():
    async def go():
        part = replica()
        work = asyncio.create_task(part.run("127.0.0.1", 0))
        address = await listening(part)
        trusting = ssl.create_default_context(cadata=TRUST.pem().decode())
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"https://127.0.0.1:{address[1]}/mutate", data=review(), headers={"content-type": JSON}, ssl=trusting
            ) as response,
        ):
            assert (await response.json())["response"]["patchType"] == "JSONPatch"
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        with pytest.raises(OSError):  # noqa: PT011 (refused, however the system says it)
            await asyncio.open_connection(*address)

    uvloop.run(asyncio.wait_for(go(), 30))


def test_a_port_that_is_taken_is_told():
    async def go():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            await replica().run("127.0.0.1", taken.getsockname()[1])

    with pytest.raises(OSError, match="address already in use"):
        asyncio.run(asyncio.wait_for(go(), 30))
