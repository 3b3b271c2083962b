"""The command line, as manifests call it: real processes of each application that serves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.bed.waiting import until

pytestmark = pytest.mark.live
COMMAND = [sys.executable, "-m", "tests.cluster.apps"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


@contextmanager
def started(*words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, *words, f"--port={port}"], env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    try:
        until(f"{words[0]} on port {port}", lambda: answers(port), 20)
        yield process, port
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["echo", "banner", "spans", "webhook"])
def test_a_server_starts_and_ends_on_sigterm(name: str) -> None:
    with started(name, LINGER="0.1") as (process, _):
        process.send_signal(signal.SIGTERM)
        said = [json.loads(line)["what"] for line in process.communicate(timeout=10)[0].splitlines()]
    assert said == ["starts", "SIGTERM", "ends"]
    assert process.returncode == 0


def test_a_load_and_a_single_request_against_an_echo() -> None:
    with started("echo", VERSION="v3") as (_, port):
        job = json.dumps({"url": f"http://127.0.0.1:{port}/", "requests": 20})
        loaded = subprocess.run([*COMMAND, "load", job], capture_output=True, text=True, timeout=20, check=False)
        assert loaded.returncode == 0
        assert json.loads(loaded.stdout)["versions"] == {"v3": 20}
        got = subprocess.run(
            [*COMMAND, "get", f"http://127.0.0.1:{port}/?status=404"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert got.returncode == 1
        assert got.stderr.startswith("status 404")
