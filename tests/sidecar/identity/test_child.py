"""A process of its own: its word is taken, and whatever becomes of it is over in time."""

import asyncio
import os
import sys
import time

import uvloop

from sidewinder_sidecar.identity import child
from sidewinder_sidecar.identity.child import Outcome


def ran(code, seconds=20.0):
    return uvloop.run(child.run(("-c", code), seconds))


def test_its_word_is_taken():
    assert ran("""print('{"why":"", "retry_after":0}')""") == Outcome()
    told = (
        """import sys; print('{"why":"refused", "retry_after":7.5}'); print("in words", file=sys.stderr); sys.exit(1)"""
    )
    assert ran(told) == Outcome(why="refused", retry_after=7.5)


def test_one_that_dies_has_failed():
    assert ran("1/0").why.startswith("the enrolling process ended with status 1: Traceback")
    assert ran("import os; os.kill(os.getpid(), 9)").why.endswith("ended with status -9: it said nothing")
    assert ran("print('nonsense')").why.endswith("ended with status 0: it said nothing")


def test_what_it_says_is_bounded():
    assert len(ran("raise SystemExit('x' * 1_000_000)").why) < 1100


def test_one_that_hangs_is_ended(tmp_path):
    began = time.monotonic()
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    assert ran(code, 3.0).why == "it was not over within 3 s"
    assert time.monotonic() - began < 15
    assert not os.path.exists(f"/proc/{file.read_text()}")


def test_it_ends_with_us(tmp_path):
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    async def run():
        task = asyncio.create_task(child.run(("-c", code)))
        while not (file.exists() and file.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    uvloop.run(asyncio.wait_for(run(), 20))
    assert not os.path.exists(f"/proc/{file.read_text()}")


def test_a_program_that_is_not_there(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "no process can be started: No such file" in ran("0").why


def test_it_is_the_proxys_own_program():
    """`enrol` without a setting says so with status 2, which is what a person sees as well."""
    outcome = uvloop.run(child.run())
    assert "SIDEWINDER_DISCOVERY is not https:" in outcome.why
    assert "status 2" in outcome.why
