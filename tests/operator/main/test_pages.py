"""The health port: what the kubelet, Prometheus and people read there."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp

from tests.support.clock import eventually
from tests.support.operators import Bench, bench, free_port

PAGE = Path(__file__).parents[3] / "docs" / "status.md"
ONLY_WITH_WEBHOOKS = {"sidewinder_operator_admission_seconds"}


def test_the_page_names_every_metric_and_no_other() -> None:
    async def work(on: Bench) -> None:
        process = on.start()
        await on.served(process)
        served = set(re.findall(r"^# HELP (\S+)", process.metrics.text(), re.MULTILINE))
        assert set(re.findall(r"sidewinder_operator_\w+", PAGE.read_text())) == served | ONLY_WITH_WEBHOOKS

    bench(work)


def test_the_health_port_tells_serving_from_leading() -> None:
    async def work(on: Bench) -> None:
        port = free_port()
        on.server.failing = 503
        process = on.start(health_port=port)
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as client:

            async def page(path: str) -> tuple[int, str]:
                async with client.get(url + path) as answer:
                    return answer.status, await answer.text()

            await eventually(lambda: process.metrics.text())
            await asyncio.sleep(0.2)
            assert await page("/livez") == (200, "ok\n")
            status, text = await page("/readyz")
            assert status == 503
            assert "ApiRoute" in json.loads(text)["waitsFor"]
            on.server.failing = 0
            await on.served(process)
            status, text = await page("/readyz")
            assert (status, json.loads(text)["waitsFor"]) == (200, [])
            await eventually(lambda: process.lease.leader(), 10)
            assert json.loads((await page("/leadz"))[1]) == {"leading": True, "holder": process.identity}
            _, text = await page("/metrics")
            for line in (
                "sidewinder_operator_leader 1",
                'sidewinder_operator_objects{kind="Pod"} 1',
                "sidewinder_operator_proxies_behind 1",
                'sidewinder_operator_problems{severity="Error"} 0',
            ):
                assert line in text.splitlines()
            assert "sidewinder_operator_turn_seconds_count" in text

    bench(work)
