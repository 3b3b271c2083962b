"""A registry of OCI artefacts on this machine: for `helm push`, and for nodes that pull.

Called by the fixture `registry`; calls crane, whose registry keeps everything in memory or in one folder and ends
with the process.
"""

from __future__ import annotations

import http.client
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.bed.waiting import until

LIMIT = 10  # seconds until it answers; it takes 0.1


def command(crane: Path, address: str, folder: Path) -> list[str]:
    return [str(crane), "registry", "serve", f"--address={address}:0", f"--disk={folder}"]


def announced(log: str) -> int:
    """The port in crane's first words ("serving on port 12345"), or 0 while they are not there."""
    _, found, rest = log.partition("serving on port ")
    digits = rest.split()[0] if found and rest.split() else ""
    return int(digits) if digits.isdigit() else 0


def answers(address: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=1)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    finally:
        connection.close()


@contextmanager
def serve(crane: Path, address: str, folder: Path) -> Iterator[str]:
    """`host:port` of a registry that ends with the block. The address is one that the nodes reach."""
    log = folder / "registry.log"
    (folder / "blobs").mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(crane, address, folder / "blobs"),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=os.environ,
        )
    try:
        until("the registry's port", lambda: announced(log.read_text()), LIMIT)
        port = announced(log.read_text())
        until("the registry's answer", lambda: answers(address, port), LIMIT)
        yield f"{address}:{port}"
    finally:
        process.terminate()
        process.wait(LIMIT)
