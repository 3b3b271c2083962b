"""Writes lines to a descriptor from a thread of its own, so that a reader who stalls never stalls the proxy.

Used by the access log and by the process's own log. What does not fit the bound is dropped and counted. The descriptor
stays blocking: making it non-blocking would change it for every process that shares it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import SimpleQueue

from msgspec import json

PENDING = 4 << 20  # bytes: a second of 10 000 requests at 400 bytes a line


class Writer:
    """`put` never blocks. The thread starts with the first bytes and ends with `close`."""

    __slots__ = ("_chunks", "_given", "_taken", "_thread", "descriptor", "dropped", "pending")

    def __init__(self, descriptor: int, pending: int = PENDING) -> None:
        self.descriptor = descriptor
        self.pending = pending
        self.dropped = 0  # chunks that did not fit or could not be written
        self._chunks: SimpleQueue[bytes | None] = SimpleQueue()
        self._given = 0  # bytes; written by the caller's thread only
        self._taken = 0  # bytes; written by our thread only
        self._thread: threading.Thread | None = None

    @property
    def full(self) -> bool:
        """Whether the reader is that far behind."""
        return self._given - self._taken > self.pending

    def put(self, chunk: bytes) -> bool:
        """Have the bytes written some time; False when they were dropped."""
        if self.full:
            self.dropped += 1
            return False
        self._given += len(chunk)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"writer-{self.descriptor}", daemon=True)
            self._thread.start()
        self._chunks.put(chunk)
        return True

    def close(self, seconds: float) -> None:
        """Write what waits, for so long at most."""
        if self._thread is not None:
            self._chunks.put(None)
            self._thread.join(seconds)
            self._thread = None

    def _run(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._write(chunk)
            self._taken += len(chunk)

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except OSError:  # the reader is gone, the disk is full: the log is lost, the traffic is not
                self.dropped += 1
                return

    def __repr__(self) -> str:
        return f"<Writer {self.descriptor} {self._given - self._taken} bytes waiting, {self.dropped} dropped>"


class Handler(logging.Handler):
    """The process's own log records as JSON lines through a Writer."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format and hand over."""
        line: dict[str, object] = {
            "time": f"{self._time(record)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:8192],
        }
        if record.exc_info:
            line["traceback"] = logging.Formatter().formatException(record.exc_info)[-8192:]
        self.writer.put(json.encode(line) + b"\n")

    @staticmethod
    def _time(record: logging.LogRecord) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
