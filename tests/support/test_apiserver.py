"""The fake API server tells what the real one would: of what has been, too, only what was asked for."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from tests.support.apiserver import FakeApiServer

THINGS = "/apis/example.org/v1/things"


def test_a_watch_that_comes_late_hears_only_of_the_one_it_asked_for() -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server, aiohttp.ClientSession() as session:
            for name in ("a", "b"):
                server.put(THINGS, {"metadata": {"name": name, "namespace": "shop"}})
            asked = {"watch": "true", "resourceVersion": "0", "fieldSelector": "metadata.name=b"}
            async with session.get(server.url + THINGS, params=asked) as response:
                event = json.loads(await response.content.readline())
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "b")

    asyncio.run(asyncio.wait_for(main(), 20))
