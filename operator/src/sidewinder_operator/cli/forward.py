"""A pod's own port, loopback included, brought to this machine by `kubectl port-forward`. Called by `kubectl`."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence

SECONDS = 15.0  # until it forwards; the API server and the kubelet are asked in turn
LARGEST_LINE = 4096

_LINE = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ->")


class Failed(Exception):
    """It does not forward; the text is what kubectl said."""


@contextlib.contextmanager
def forwarded(words: Sequence[str], namespace: str, pod: str, port: int, seconds: float = SECONDS) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to the pod's while the block runs. `words` begin kubectl's command; `pod` is a
    name, or what else kubectl finds a pod by (`deployment/reviews`). Raises Failed.
    """
    target = pod if "/" in pod else f"pod/{pod}"
    command = [*words, "port-forward", f"--namespace={namespace}", "--address=127.0.0.1", target, f":{port}"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        assert process.stdout is not None
        try:
            yield _port(process.stdout.fileno(), said.fileno(), time.monotonic() + seconds)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _port(output: int, said: int, until: float) -> int:
    line = b""
    while (left := until - time.monotonic()) > 0 and len(line) < LARGEST_LINE:
        ready, _, _ = select.select([output], [], [], left)
        if not ready:
            break
        piece = os.read(output, LARGEST_LINE)
        if not piece:
            os.lseek(said, 0, os.SEEK_SET)
            raise Failed(os.read(said, LARGEST_LINE).decode("utf-8", "replace").strip() or "kubectl has ended")
        line += piece
        if found := _LINE.search(line):
            return int(found[1])
    raise Failed("kubectl port-forward did not say where it listens")
