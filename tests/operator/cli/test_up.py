"""How `up` starts and how it says that it cannot; `tests/live/test_up.py` has it at work with real sidecars."""

from __future__ import annotations

import asyncio
import io
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from sidewinder_operator.cli import up as module
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.up import Asked, run
from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.local import sidecars

READY = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
HTTPServer(("127.0.0.1", int(os.environ["SIDEWINDER_PROBE_PORT"])), Ready).serve_forever()
"""


class Heard:
    """A voice and what it said."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        console = Console(file=self._file, highlight=False, soft_wrap=True, width=240)
        self.voice = Voice(console, console)

    @property
    def text(self) -> str:
        return self._file.getvalue()


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    heard = Heard()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(Asked(paths=(tmp_path,), state=tmp_path / "state", port=port), heard.voice) == 1
    assert f"127.0.0.1:{port}: Address already in use" in heard.text
    assert "--port" in heard.text
    assert not (tmp_path / "state").exists()


def test_settings_that_no_sidecar_can_use_are_said_before_anything_starts(tmp_path: Path) -> None:
    heard = Heard()
    assert run(Asked(paths=(tmp_path,), state=tmp_path / "state", port=0, otlp="ftp://x"), heard.voice) == 1
    assert "SIDEWINDER_OTLP_ENDPOINT='ftp://x'" in heard.text
    assert "mend them and start again" in heard.text
    assert not (tmp_path / "state").exists()


def test_a_state_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    heard = Heard()
    (tmp_path / "file").touch()
    assert run(Asked(paths=(tmp_path,), state=tmp_path / "file" / "state", port=0), heard.voice) == 1
    assert "cannot keep state in" in heard.text
    assert "--state" in heard.text


def stopped_after(text: str, asked: Asked, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs it until `text` was said, then ends it as Ctrl-C does."""
    made: list[module.Up] = []

    class Watched(module.Up):
        async def run(self) -> int:
            made.append(self)
            loop = asyncio.get_running_loop()

            def watch() -> None:
                until = time.monotonic() + 15
                while text not in heard.text and time.monotonic() < until:
                    time.sleep(0.01)
                loop.call_soon_threadsafe(self._stop.set)

            threading.Thread(target=watch, daemon=True).start()
            return await super().run()

    monkeypatch.setattr(module, "Up", Watched)
    monkeypatch.setattr(sidecars, "COMMAND", (sys.executable, "-c", READY))
    return run(asked, heard.voice)


def test_a_folder_without_anything_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    (tmp_path / "empty").mkdir()
    asked = Asked(paths=(tmp_path / "empty",), state=tmp_path / "state", port=0)
    assert stopped_after("nothing to run yet", asked, heard, monkeypatch) == 0
    assert "in this folder (Empty)" in heard.text
    assert "no process is left" in heard.text


def test_a_path_that_is_not_there_is_a_problem_and_may_still_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    asked = Asked(paths=(tmp_path / "later.yaml",), state=tmp_path / "state", port=0)
    writing = threading.Timer(
        1.0, (tmp_path / "later.yaml").write_text, ("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",)
    )
    writing.start()
    assert stopped_after("no problems any more", asked, heard, monkeypatch) == 0
    assert "later.yaml: no such file or directory" in heard.text
    assert "no problems any more" in heard.text


def test_the_state_says_where_it_can_be_asked_only_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    asked = Asked(paths=(tmp_path,), state=tmp_path / "state", port=0)
    assert stopped_after("nothing to run yet", asked, heard, monkeypatch) == 0
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["last-good.jsonl"] or not [
        *(tmp_path / "state").iterdir()
    ]


def test_it_is_not_complete_while_a_change_is_on_its_way_to_the_sidecars(tmp_path: Path) -> None:
    async def main() -> None:
        up = module.Up(Asked(paths=(tmp_path,), state=tmp_path / "state"), Heard().voice, tmp_path)
        up.reconciler.once()
        (workload,) = up.store.pictures
        assert not up._complete(), "the way in has acknowledged nothing"
        up.acks.tell(workload, Having(versions=up.store.pictures[workload].versions))
        assert up._complete()
        up.reconciler.ring()  # as a replica does that has become ready
        assert not up._complete()
        up.reconciler.once()
        assert up._complete()

    asyncio.run(main())
