import json
import logging
import os
import sys

import pytest

from sidewinder_sidecar.telemetry.writer import Handler, Writer


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def test_everything_is_written_in_order(pipe):
    reader, writer = pipe
    written = Writer(writer)
    for number in range(100):
        assert written.put(b"%d\n" % number)
    written.close(5)
    assert os.read(reader, 65536) == b"".join(b"%d\n" % number for number in range(100))
    assert written.dropped == 0


def test_a_reader_who_stalls_costs_bytes_that_are_counted(pipe):
    reader, writer = pipe
    written = Writer(writer, pending=200_000)
    chunk = b"x" * 65536
    results = [written.put(chunk) for _ in range(50)]
    assert results.count(False) == written.dropped > 40
    assert written.full
    thread = written._thread
    written.close(0.05)  # the thread hangs in write; closing does not
    assert thread.is_alive()
    kept = results.count(True) * len(chunk)
    while kept:
        kept -= len(os.read(reader, kept))
    thread.join(5)
    assert not thread.is_alive()


def test_a_reader_who_is_gone_is_no_error(pipe):
    reader, writer = pipe
    os.close(reader)
    written = Writer(writer)
    assert written.put(b"x")
    written.close(5)
    assert written.dropped == 1
    assert not written.full


def test_no_thread_before_the_first_bytes(pipe):
    written = Writer(pipe[1])
    written.close(1)
    assert written._thread is None


def test_the_process_log_is_json(pipe):
    reader, writer = pipe
    written = Writer(writer)
    handler = Handler(written)
    logger = logging.Logger("sidewinder.test")
    logger.addHandler(handler)
    try:
        raise KeyError("x\n")
    except KeyError:
        logger.exception("broken %s", "a\nb")
    written.close(5)
    (line,) = os.read(reader, 65536).splitlines()
    found = json.loads(line)
    assert (found["level"], found["logger"], found["message"]) == ("error", "sidewinder.test", "broken a\nb")
    assert "KeyError" in found["traceback"]
    assert len(found["time"]) == len("2026-01-01T00:00:00.000Z")
    assert sys.exc_info() == (None, None, None)
