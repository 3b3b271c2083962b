"""Asking the running `up`: who cannot be asked, and what people see of an answer."""

from __future__ import annotations

import io
import json
import socket
import tempfile
import threading
from pathlib import Path

import pytest
from rich.console import Console

from sidewinder_operator.cli import status
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.sockets import bind
from sidewinder_operator.cli.status import NotRunning, ask, elsewhere, forget, runs, show
from sidewinder_operator.local import kept

ANSWER = {
    "proxies": [
        {
            "id": "LocalProcess/shop/app/0",
            "ready": True,
            "current": False,
            "ports": {"inbound": 1, "outbound": 2, "application": 3, "probe": 4, "admin": 5},
            "restarts": {"application": 1, "sidecar": 2},
        }
    ],
    "objects": [
        {
            "kind": "ApiRoute",
            "namespace": "shop",
            "name": "r",
            "proxies": {"required": 2, "acknowledged": 0, "rejected": 1},
            "missing": ["a", "b"],
            "rejections": {"a": "no such thing"},
        }
    ],
    "sentences": ["a.yaml:3: wrong"],
}


def test_nobody_has_ever_run_here(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no `sidewinder up` runs"):
        ask(tmp_path)
    forget(tmp_path)
    assert not runs(tmp_path)


def test_a_complaint_of_the_cluster_says_that_the_cluster_was_asked(tmp_path: Path) -> None:
    assert str(tmp_path) in elsewhere("", tmp_path)
    assert elsewhere("staging", tmp_path) == "", "the cluster was named: nothing else can have been meant"


def test_who_was_killed_is_said_to_be(tmp_path: Path) -> None:
    kept.write(tmp_path / "up.json", json.dumps({"pid": 1, "socket": str(tmp_path / "gone.sock")}).encode())
    with pytest.raises(NotRunning, match="has it been killed"):
        ask(tmp_path)
    assert not runs(tmp_path)


def test_who_is_too_busy_to_answer_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "SECONDS", 0.01)
    with tempfile.TemporaryDirectory(prefix="sw-") as name:
        folder = Path(name)
        listening = bind(folder / "x.sock")  # and nobody takes what comes
        kept.write(folder / "up.json", json.dumps({"pid": 1, "socket": str(folder / "x.sock")}).encode())
        with pytest.raises(NotRunning, match=r"has not answered within 0\.01 s"):
            ask(folder)
        assert runs(folder), "or the cluster would be asked in its place"
        assert elsewhere("", folder) == ""
        listening.close()


@pytest.mark.parametrize("content", [b"nonsense", b"[]", b"{}", b'{"socket": 3}'])
def test_a_state_that_is_none_is_said(tmp_path: Path, content: bytes) -> None:
    kept.write(tmp_path / "up.json", content)
    with pytest.raises(NotRunning, match=r"up\.json"):
        ask(tmp_path)


def test_an_answer_is_what_comes_after_the_head() -> None:
    with tempfile.TemporaryDirectory(prefix="sw-") as name:
        folder = Path(name)
        listening = bind(folder / "x.sock")
        listening.setblocking(True)
        kept.write(folder / "up.json", json.dumps({"pid": 1, "socket": str(folder / "x.sock")}).encode())

        def serve() -> None:
            connection: socket.socket
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(ANSWER).encode())

        serving = threading.Thread(target=serve)
        serving.start()
        assert json.loads(ask(folder)) == ANSWER
        serving.join(5)
        listening.close()


def test_people_see_who_is_missing_and_why() -> None:
    file = io.StringIO()
    console = Console(file=file, soft_wrap=True, width=200)
    show(json.dumps(ANSWER).encode(), Voice(console, console))
    rows = [row.split() for row in file.getvalue().splitlines()]
    assert ["shop/app/0", "yes", "no", "1", "2", "3", "4", "5", "3"] in rows
    assert "a (no such thing), b (not yet)" in file.getvalue()
    assert "a.yaml:3: wrong" in file.getvalue()
