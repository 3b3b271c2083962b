"""The warden's own parts; `test_children` has it at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from sidewinder_operator.local import warden


def test_groups_are_what_was_told_and_not_taken_back() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"+12\n+34\n-1")
    os.write(writing, b"2\n+56\n")
    os.close(writing)
    assert warden.listen(reading) == {34, 56}
    os.close(reading)


def test_a_group_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    assert warden.signalled([process.pid], signal.SIGTERM) == set()


def test_who_does_not_listen_to_sigterm_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    warden.end({process.pid})
    assert process.wait(5) == -signal.SIGKILL
