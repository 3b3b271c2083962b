"""The faults of the chaos run, one function each: it breaks something, holds it broken for a while, and mends it.

Called by `run` with a bed under load, in the order of CASES. `hold(share)` waits for that share of the case's time.
What has to be true besides the figures is asserted by the function.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from tests.chaos.bed import Bed, limit, open_files, until
from tests.chaos.callers import deaf_callers, idle_connections, leaving_callers, slow_callers
from tests.chaos.fault_proxy import BLACK_HOLE, Fault
from tests.chaos.mesh import Mesh
from tests.chaos.name_server import ANSWERS, FAILS, SILENT

Hold: TypeAlias = Callable[[float], None]
Break: TypeAlias = Callable[[Any, Hold], None]  # a Bed or, of a case with a mesh, a Mesh

GARBAGE = bytes(range(256)) + b"\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Ty"
LOST_PERCENT = 20  # of packets, each way: a third of all round trips wait for a retransmission, 200 ms at least
SPARE_FILES = 40  # of the process's own, besides what callers take
ROOM = 96 << 20  # of address space, besides what an idle process has: its bodies in flight would be far more


class Case(NamedTuple):
    """A fault. `lost`: why some requests cannot be saved, and how many may be lost of a hundred; "" for none."""

    name: str
    act: Break
    wired: bool = False  # the endpoints are called through fault proxies
    settings: Mapping[str, str] = {}  # of the sidecar
    clock: bool = False  # the sidecar's wall clock can be set
    collected: bool = False  # spans go to a collector
    operated: bool = False  # the configuration comes over a stream
    named: bool = False  # the endpoints are called by names
    mesh: tuple[str, ...] | None = None  # a whole `sidewinder up` instead, with these options
    load: Mapping[str, Any] = {}
    rate: float = 100.0  # requests a second: enough for a p99, little enough for a busy machine
    lost: str = ""
    percent: float = 0.0
    recovery: float = 2.0  # seconds after its end in which nothing suffers any more; the goal
    grows: float = 10.0  # MB that the sidecar may take more: what waits is bounded, whatever is wrong
    short: bool = True  # part of the short form


# ── an endpoint ───────────────────────────────────────────────────────────────────────────────────────────────────────


def killed(bed: Bed, hold: Hold) -> None:
    bed.applications[0].kill()
    hold(1)
    bed.applications[0].start()


def stopped(bed: Bed, hold: Hold) -> None:
    """Its kernel takes connections and requests on; nobody answers."""
    bed.applications[0].signal(signal.SIGSTOP)
    hold(1)
    bed.applications[0].signal(signal.SIGCONT)


def flapping(bed: Bed, hold: Hold) -> None:
    for _ in range(5):
        bed.ways[0].refuse()
        hold(0.1)
        bed.ways[0].accept()
        hold(0.1)


def refusing(bed: Bed, hold: Hold) -> None:
    bed.ways[0].refuse()
    hold(1)
    bed.ways[0].accept()


def wire(fault: Fault) -> Break:
    """This fault on the way to one endpoint."""

    def act(bed: Bed, hold: Hold) -> None:
        bed.ways[0].set(fault)
        hold(1)
        bed.ways[0].heal()

    return act


def reset_anywhere(bed: Bed, hold: Hold) -> None:
    """At every tenth of the first bytes of an answer's head; those that are open are broken off as well."""
    for after in range(10):
        bed.ways[0].set(Fault(reset_after=after))
        bed.ways[0].reset()
        hold(0.1)
    bed.ways[0].heal()


def half_open(bed: Bed, hold: Hold) -> None:
    for _ in range(4):
        bed.ways[0].strand()
        hold(0.25)


def cable_pulled(bed: Bed, hold: Hold) -> None:
    """Nothing arrives there any more, not even a connection's first packet, and nobody tells."""
    bed.network.cut(0)
    hold(1)
    bed.network.mend(0)


def machine_lost(bed: Bed, hold: Hold) -> None:
    """Its power fails; it comes back and knows of no connection."""
    bed.network.cut(0)
    bed.applications[0].kill()
    hold(1)
    bed.applications[0].start(reached=False)
    bed.network.mend(0)
    until(bed.applications[0].answers, "an application")


def way_closed(bed: Bed, hold: Hold) -> None:
    """Connections cannot be made; those that stand break at the next packet."""
    bed.network.close_way(0)
    hold(1)
    bed.network.mend(0)


def packets_lost(bed: Bed, hold: Hold) -> None:
    bed.network.lose(0, LOST_PERCENT)
    hold(1)
    bed.network.lose(0, 0)


def all_but_one(bed: Bed, hold: Hold) -> None:
    """Two of three: more than may be ejected. Who refuses is found out at once, and others are asked."""
    for one in bed.applications[:2]:
        one.kill()
    hold(1)
    for one in bed.applications[:2]:
        one.start()


def two_stopped(bed: Bed, hold: Hold) -> None:
    """Two of three take requests and answer none."""
    for one in bed.applications[:2]:
        one.signal(signal.SIGSTOP)
    hold(1)
    for one in bed.applications[:2]:
        one.signal(signal.SIGCONT)


def two_ill(bed: Bed, hold: Hold) -> None:
    """Two of three have something to answer to everybody, at once."""
    for way in bed.ways[:2]:
        way.set(Fault(garbage=UNAVAILABLE))
    hold(1)
    for way in bed.ways[:2]:
        way.heal()


# ── what a sidecar depends on ─────────────────────────────────────────────────────────────────────────────────────────


def collector_away(bed: Bed, hold: Hold) -> None:
    assert bed.collector is not None
    bed.collector.refuse()
    hold(0.5)
    bed.collector.accept()
    bed.collector.set(BLACK_HOLE)
    hold(0.5)
    bed.collector.heal()
    bed.notes.append(f"{bed.metric('sidewinder_spans_dropped_total'):.0f} spans dropped")


def operator_killed(bed: Bed, hold: Hold) -> None:
    """With the endpoints as they were; one of them goes meanwhile, and nobody tells."""
    assert bed.discovery is not None
    bed.discovery.refuse()
    hold(0.5)
    bed.applications[0].kill()
    hold(0.5)
    bed.applications[0].start()
    bed.discovery.accept()
    bed.notes.append(f"a new configuration in force {bed.reconfigured():.1f} s after the operator's return")


def discovery_away(bed: Bed, hold: Hold) -> None:
    """The stream stands and nothing arrives on it; then the node's connections are gone, as after a partition."""
    assert bed.discovery is not None
    bed.discovery.set(BLACK_HOLE)
    hold(1)
    bed.discovery.heal()
    bed.discovery.reset()
    bed.notes.append(f"a new configuration in force {bed.reconfigured():.1f} s after its end")


def dns_away(bed: Bed, hold: Hold) -> None:
    """Nobody answers, then nobody knows; each endpoint restarts meanwhile, so that new connections are needed."""
    assert bed.names is not None
    for mood, ones in ((SILENT, bed.applications[:2]), (FAILS, bed.applications[2:])):
        bed.names.mood = mood
        for one in ones:
            hold(1 / 5)
            one.kill()
            one.start()
        hold(1 / 5)
    bed.names.mood = ANSWERS


def clock_jumps(bed: Bed, hold: Hold) -> None:
    """The wall clock: an hour ahead, a day back, and right again."""
    for jump in ("+3600", "-86400", "+0"):
        bed.jump(jump)
        hold(1 / 3)


# ── a sidecar itself ──────────────────────────────────────────────────────────────────────────────────────────────────


def sidecar_killed(bed: Bed, hold: Hold) -> None:
    hold(0.3)
    bed.kill_sidecar()
    began = time.monotonic()
    bed.start_sidecar()
    bed.notes.append(f"serves again {time.monotonic() - began:.1f} s after it was started")


def files_at_limit(bed: Bed, hold: Hold) -> None:
    """No file is left for the next connection, on either side."""
    pid = bed.proxy.process.pid
    most = open_files(pid) + SPARE_FILES
    before = limit(pid, resource.RLIMIT_NOFILE, most)
    idle = []
    try:
        for _ in range(2 * SPARE_FILES):
            with contextlib.suppress(OSError):
                idle.append(socket.create_connection(("127.0.0.1", bed.port), 1))
        until(lambda: open_files(pid) >= most - 1, "no file is left")
        hold(1)
    finally:
        for one in idle:
            one.close()
        limit(pid, resource.RLIMIT_NOFILE, before[0])


def memory_at_limit(bed: Bed, hold: Hold) -> None:
    """Large bodies to a service of which one endpoint reads nothing: what waits must fit into the room that is left."""
    pid = bed.proxy.process.pid
    room = int(bed.memory("VmSize") * 1000) * 1024 + ROOM
    before = limit(pid, resource.RLIMIT_AS, room)
    bed.ways[0].set(Fault(deaf=True))
    hold(1)
    bed.ways[0].heal()
    limit(pid, resource.RLIMIT_AS, before[0])
    assert bed.metric("sidewinder_bugs_total") == 0


# ── a whole mesh of one machine: mutual TLS, an authority, an operator ────────────────────────────────────────────────


def certificates_end(bed: Mesh, hold: Hold) -> None:
    """They last twelve seconds: every one of them ends at least once."""
    hold(2)
    bed.notes.append(f"{bed.metric('sidewinder_tls_handshakes_total'):.0f} handshakes at the way in")


def up_stopped(bed: Mesh, hold: Hold) -> None:
    bed.signal_up(signal.SIGSTOP)
    hold(1)
    bed.signal_up(signal.SIGCONT)


def callee_killed(bed: Mesh, hold: Hold) -> None:
    """The proxy in front of an application, by the kernel; `up` starts it again."""
    bed.kill("ratings")
    hold(1)


SMALL = {"method": "PUT", "body_bytes": 30_000}
LARGE = {"method": "PUT", "body_bytes": 200_000}
CASES: tuple[Case, ...] = (
    Case("endpoint killed", killed),
    Case("endpoint stopped", stopped),
    Case("endpoint's cable pulled", cable_pulled),
    Case("endpoint's machine lost", machine_lost, short=False),
    Case("no way to an endpoint", way_closed, short=False),
    Case("packets lost", packets_lost),
    Case("endpoint slow", wire(Fault(delay=1.0)), wired=True, short=False),
    Case("endpoint flapping", flapping, wired=True),
    Case("endpoint refusing", refusing, wired=True, short=False),
    Case("two of three killed", all_but_one),
    Case("two of three stopped", two_stopped, short=False),
    Case("two of three answer 503", two_ill, wired=True, percent=20.0, short=False,
         lost="no more than half may be ejected, and retries have a budget"),
    Case("answers garbage", wire(Fault(garbage=GARBAGE)), wired=True),
    Case("answers half a head", wire(Fault(garbage=HALF)), wired=True, short=False),
    Case(
        "ends in an answer's body", wire(Fault(end_after=300)), wired=True, percent=5.0,
        lost="the caller has the head already",
    ),
    Case("loses what follows a head's first bytes", wire(Fault(lose_after=9)), wired=True, short=False),
    Case("resets at any byte", reset_anywhere, wired=True),
    Case("half-open connections", half_open, wired=True, short=False),
    Case("black hole", wire(BLACK_HOLE), wired=True, short=False),
    Case("reads nothing, small bodies", wire(Fault(deaf=True)), wired=True, load=SMALL, short=False),
    Case("reads nothing, large bodies", wire(Fault(deaf=True)), wired=True, load=LARGE, rate=30.0, percent=2.0,
         lost="a body that is too large to be kept cannot be sent twice", short=False),
    Case("sends slowly", wire(Fault(rate=400)), wired=True, percent=5.0, short=False,
         lost="the caller has the head already"),
    Case("collector away", collector_away, collected=True, short=False),
    Case("operator killed", operator_killed, operated=True),
    Case("discovery stream black-holed", discovery_away, operated=True, short=False),
    Case("DNS away", dns_away, named=True),
    Case("clock jumps", clock_jumps, clock=True, short=False),
    Case(
        "sidecar killed and restarted", sidecar_killed, percent=100.0,
        lost="nothing listens until it serves again",
    ),
    Case("files at their limit", files_at_limit, percent=5.0, lost="no new connection of a caller can be taken"),
    Case("memory at its limit", memory_at_limit, wired=True, load=LARGE, rate=30.0, short=False, percent=2.0,
         lost="a body that is too large to be kept cannot be sent twice"),
    Case("10 000 idle connections", idle_connections, settings={"LIMIT_CONNECTIONS": "12000"}, grows=50.0,
         short=False),
    Case("a byte a second", slow_callers),
    Case("callers that read nothing", deaf_callers, short=False),
    Case("callers that leave in the middle", leaving_callers, short=False),
    Case("certificates end", certificates_end, mesh=("--certificate-seconds", "12"), short=False),
    Case("operator stopped", up_stopped, mesh=(), short=False),
    Case(
        "callee's sidecar killed", callee_killed, mesh=(), percent=100.0, short=False,
        lost="it was the only one",
    ),
)  # fmt: skip
