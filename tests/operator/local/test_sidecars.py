"""A sidecar's settings: what it is given, what a person may pass on, and what it must never see."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidewinder_operator.local.children import Nursery
from sidewinder_operator.local.ports import Ports
from sidewinder_operator.local.sidecars import Sidecar, Telling, unusable
from sidewinder_sidecar.settings import read


def made(telling: Telling, tmp_path: Path) -> Sidecar:
    nursery = Nursery(tmp_path)
    socket = tmp_path / "3.sock"
    identity = socket.with_suffix(".identity")
    return Sidecar("app", socket, identity, nursery, Ports(), lambda who, tone, line: None, telling, lambda child: None)


def test_its_settings_are_ones_that_a_sidecar_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDEWINDER_LIMIT_HEADER_COUNT", "50")
    monkeypatch.setenv("SIDEWINDER_SNAPSHOT", "/of/somebody/else")
    monkeypatch.setenv("SIDEWINDER_ACCESS_LOG_QUERY", "true")
    sidecar = made(Telling(otlp_endpoint="http://127.0.0.1:4318"), tmp_path)
    settings = read(sidecar.child.program.environment)
    assert settings.discovery == f"unix:{tmp_path / '3.sock'}"
    assert settings.identity == str(tmp_path / "3.identity")
    assert (settings.probe_port, settings.admin_port) == (sidecar.probe_port, sidecar.admin_port)
    assert settings.probe_address == "127.0.0.1"
    assert settings.access_log == "off"
    assert settings.access_log_query
    assert settings.otlp_endpoint == "http://127.0.0.1:4318"
    assert settings.limits.header_count == 50
    assert settings.limits.drain_seconds == 5.0
    assert settings.snapshot == ""


def test_settings_that_no_sidecar_can_use_are_told_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDEWINDER_LIMIT_REQUEST_LINE", "abc")
    monkeypatch.setenv("SIDEWINDER_LIMIT_HEADR_COUNT", "5")
    request_line, endpoint, stranger = unusable(Telling(otlp_endpoint="collector:4318"))
    assert request_line.startswith("SIDEWINDER_LIMIT_REQUEST_LINE='abc': ")
    assert endpoint.startswith("SIDEWINDER_OTLP_ENDPOINT='collector:4318': ")
    assert stranger.endswith("did you mean SIDEWINDER_LIMIT_HEADER_COUNT?")


def test_settings_that_can_be_used_are_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDEWINDER_LIMIT_HEADER_COUNT", "50")
    assert unusable(Telling(otlp_endpoint="http://127.0.0.1:4318")) == []


def test_the_access_log_is_shown_when_asked_for(tmp_path: Path) -> None:
    sidecar = made(Telling(access_log=True), tmp_path)
    assert read(sidecar.child.program.environment).access_log == "stdout"


def test_it_is_ready_when_it_says_so_and_gives_its_ports_back(tmp_path: Path) -> None:
    async def main() -> None:
        sidecar = made(Telling(), tmp_path)
        assert str(sidecar.check) == f"GET http://127.0.0.1:{sidecar.probe_port}/readyz"
        await sidecar.stop()
        assert repr(sidecar._ports) == "<Ports []>"

    asyncio.run(main())
