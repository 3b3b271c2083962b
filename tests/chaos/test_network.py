"""The chaos run's own network: nothing leads outside, cables can be pulled, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.bed import ENDPOINTS, Application, bed, until
from tests.chaos.matrix import CASES
from tests.chaos.network import Network, NotRun, network, possible

pytestmark = pytest.mark.live

SILENCE = 0.4  # seconds: an answer on this machine takes a thousandth

RUN = """
import signal
from tests.chaos.bed import Application
from tests.chaos.network import network
with network(1) as made:
    one = Application(made, 0)
    one.start()
    print(one.process.pid, flush=True)
    signal.pause()
"""


@pytest.fixture
def made() -> Iterator[Network]:
    if why := possible():
        pytest.skip(why)
    with network(2) as place:
        yield place


def heard(one: Application) -> str:
    """What a new connection tells."""
    try:
        socket.create_connection((one.address, one.port), SILENCE).close()
    except OSError as why:
        return type(why).__name__ if why.errno is None else os.strerror(why.errno)
    return "connected"


def test_each_fault_of_the_network_is_one_endpoints(made: Network) -> None:
    both = [Application(made, number) for number in range(2)]
    for one in both:
        one.start()
    try:
        for fault, told in ((made.cut, "TimeoutError"), (made.close_way, "No route to host")):
            fault(0)
            assert [heard(one) for one in both] == [told, "connected"]
            made.mend(0)
            until(both[0].answers, "the way back", 5.0)
        made.lose(0, 100)
        assert [heard(one) for one in both] == ["TimeoutError", "connected"]
        made.lose(0, 0)
        assert heard(both[0]) == "connected"
        both[0].kill()
        assert heard(both[0]) == "Connection refused"
    finally:
        for one in both:
            one.kill()


def test_nothing_leads_outside_and_threads_are_where_they_were_made(made: Network) -> None:
    namespaces = []
    thread = threading.Thread(target=lambda: namespaces.append(Path("/proc/thread-self/ns/net").readlink()))
    thread.start()
    thread.join()
    assert namespaces == [Path("/proc/thread-self/ns/net").readlink()]
    assert namespaces != [Path(f"/proc/{os.getppid()}/ns/net").readlink()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away, pytest.raises(OSError, match="unreachable"):
        away.connect(("192.0.2.1", 9))


def test_who_was_inside_is_outside_afterwards() -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    with network(0):
        pass
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_a_run_that_is_killed_leaves_nothing() -> None:
    if why := possible():
        pytest.skip(why)
    root = Path(__file__).parents[2]
    run = subprocess.Popen((sys.executable, "-c", RUN), cwd=root, stdout=subprocess.PIPE)
    assert run.stdout is not None
    echo = int(run.stdout.readline())
    place = Path(f"/proc/{echo}/ns/net").readlink()
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    run.stdout.close()
    until(lambda: place not in held(), "the namespace's end", 10.0)


def held() -> set[Path]:
    """The namespaces that processes are in."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add((process / "ns/net").readlink())
        except OSError:
            continue  # it has ended
    return found


def test_loopback_has_no_cables() -> None:
    plain = Network(2, "there is no root")
    assert plain.addresses == ["127.0.0.1", "127.0.0.1"]
    assert plain.inside(0) == ()
    for fault in (plain.cut, plain.mend, plain.close_way, lambda number: plain.lose(number, 1)):
        with pytest.raises(NotRun, match="no root"):
            fault(0)


def test_a_case_that_needs_namespaces_says_so(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.named)
    with pytest.raises(NotRun, match="no root"), bed(tmp_path, case, Network(ENDPOINTS, "there is no root")):
        raise AssertionError
