"""The life of a server; with real signals it is in test_main.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from tests.cluster.apps import banner, serving


def test_it_lingers_between_the_signal_and_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LINGER", "0.2")

    async def life() -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving.serve(banner.converse, 0), 5)

    asyncio.run(life())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["what"] for event in told] == ["starts", "SIGTERM", "ends"]
    assert told[2]["at"] - told[1]["at"] >= 0.2
