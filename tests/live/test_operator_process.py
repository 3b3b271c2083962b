"""The operator as a process of its own: what it logs, how it starts, how it ends. The API server is the fake one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually
from tests.support.operators import free_port

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


async def start(**settings: str) -> asyncio.subprocess.Process:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIDEWINDER_", "KUBERNETES_"))}
    path = os.pathsep.join(str(ROOT / part) for part in ("operator/src", "sidecar/src"))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidewinder_operator.main"),
        env=kept | {"PYTHONPATH": path} | {f"SIDEWINDER_{name.upper()}": value for name, value in settings.items()},
        stderr=asyncio.subprocess.PIPE,
    )


async def ready(url: str, seconds: float = 20.0) -> dict[str, object]:
    until = asyncio.get_running_loop().time() + seconds
    async with aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"{url}/readyz") as answer:
                    told: dict[str, object] = await answer.json()
                    if told["ready"] and told["leading"]:
                        return told
            except aiohttp.ClientError:
                told = {}
            assert asyncio.get_running_loop().time() < until, told
            await asyncio.sleep(0.05)


def test_it_serves_leads_and_goes_in_good_order(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")

    async def main() -> None:
        async with FakeApiServer().serving() as server:
            server.token = "one"
            server.put(objects.SERVICES, objects.service("reviews"))
            server.put(objects.ROUTES, objects.route("reviews", "reviews", "reviews"))
            port = free_port()
            process = await start(
                api_server=server.url,
                api_token_file=str(token),
                api_authority_file="",
                namespace="system",
                pod_name="operator-1",
                health_address="127.0.0.1",
                health_port=str(port),
            )
            assert process.stderr is not None
            try:
                told = await ready(f"http://127.0.0.1:{port}")
                assert set(told["ages"]) >= {"ApiRoute", "Pod"}  # type: ignore[call-overload]
                lease = server.get(objects.LEASES, "sidewinder-operator", "system")
                assert lease is not None
                assert lease["spec"]["holderIdentity"].startswith("operator-1-")
                await eventually(lambda: server.streams >= 13, 15)  # ten reflectors, three of kopf
                process.send_signal(signal.SIGTERM)
                lines = (await asyncio.wait_for(process.stderr.read(), 15)).splitlines()
                assert await asyncio.wait_for(process.wait(), 5) == 0
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert server.get(objects.LEASES, "sidewinder-operator", "system")["spec"]["holderIdentity"] == ""  # type: ignore[index]
            told_lines = [json.loads(line) for line in lines]
            assert {"time", "level", "logger", "message"} <= told_lines[0].keys()
            assert [line for line in told_lines if line["level"] in ("error", "critical")] == []

    asyncio.run(main())


def test_what_it_cannot_use_is_told_before_anything_starts() -> None:
    async def main() -> None:
        process = await start(api_server="nowhere", log_level="loud")
        assert process.stderr is not None
        told = (await process.stderr.read()).decode()
        assert await process.wait() == 2
        assert "SIDEWINDER_API_SERVER='nowhere'" in told
        assert "SIDEWINDER_LOG_LEVEL='loud'" in told

    asyncio.run(main())
