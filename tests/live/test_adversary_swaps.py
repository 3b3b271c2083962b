"""Snapshots are swapped under traffic: no request fails, and descriptors and memory stay where they were."""

from __future__ import annotations

import http.client
import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from sidewinder_sidecar.snapshot import stream
from tests.support.adversary import gauge, sockets
from tests.support.operator import Operator, operator
from tests.support.sidecar import Sidecar, Snapshot, backend, sidecar, snapshot

pytestmark = pytest.mark.live

SWAPS = 120  # of each of the three parts; the first only fills what stays filled
CALLERS = 3
GROWTH_MB = 3.0  # over the second and third part together: a leak of a plan or connection a swap would be more
OTHERS = 30  # services that come and go beside the one that is asked for


def picture(ports: list[int], turn: int) -> Snapshot:
    """The same service with other weights, endpoints and neighbours."""
    chance = random.Random(turn)
    made = snapshot(ports[0])
    service = "shop/reviews:9080"
    chosen = chance.sample(ports, chance.randint(1, len(ports)))
    endpoints = [{"uid": f"p{port}", "address": "127.0.0.1", "port": port} for port in chosen]
    made[f"endpoints/{service}"]["endpoints"] = endpoints
    made["route/shop/reviews"]["rules"][0]["backends"] = [{"backend": service, "weight": chance.randint(1, 9)}]
    made["route/shop/reviews"]["rules"][0]["name"] = f"turn-{turn % 3}"  # or metrics would grow, as they should
    for number in range(chance.randint(0, OTHERS)):
        name = f"shop/other{number}:80"
        made[f"service/{name}"] = {
            "name": name,
            "namespace": "shop",
            "port": 80,
            "domains": [f"o{number}"],
            "backend": name,
        }
        made[f"backend/{name}"] = {"name": name, "endpoints": name}
        one = {"uid": f"{turn}", "address": "127.0.0.1", "port": 9}
        made[f"endpoints/{name}"] = {"name": name, "endpoints": [one]}
    return made


class Traffic:
    """Callers who never pause, half of them on connections of their own for every request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.failed: list[Any] = []
        self.count = 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._call, args=(n % 2 == 0,), daemon=True) for n in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def _call(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.over.is_set():
            try:
                connection.request("POST", "/", b"x" * 3000)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append((answer.status, answer.headers["proxy-status"]))
            except (OSError, http.client.HTTPException) as fault:
                self.failed.append(repr(fault))
                connection.close()
            self.count += 1
            if not keep:
                connection.close()
        connection.close()

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(15)


def swap(proxy: Sidecar, up: Operator, ports: list[int], turns: range) -> None:
    for turn in turns:
        seen = len(up.answers)
        up.publish(picture(ports, turn))
        proxy.wait(lambda seen=seen: len(up.answers) > seen)
        assert isinstance(up.answers[-1], stream.Ack), up.answers[-1]


def resident(proxy: Sidecar) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{proxy.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def test_swaps_under_traffic_leave_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    settings = {"DISCOVERY": f"unix:{path}", "ACCESS_LOG": str(tmp_path / "log"), "KEEP": str(tmp_path / "kept")}
    with backend() as one, backend() as two, backend() as three:
        ports = [one.port, two.port, three.port]
        with operator(path) as up, sidecar(tmp_path, **settings) as proxy:
            up.publish(picture(ports, 0))
            port = proxy.ready()
            rest = sockets(proxy.process.pid)
            traffic = Traffic(port)
            try:
                swap(proxy, up, ports, range(1, SWAPS))
                before, asked = resident(proxy), traffic.count
                swap(proxy, up, ports, range(SWAPS, 3 * SWAPS))
                after = resident(proxy)
                assert traffic.count > asked + 100
            finally:
                traffic.end()
            assert traffic.failed == []
            print(f"{traffic.count} requests, {3 * SWAPS} swaps, {before:.1f} to {after:.1f} MB")
            assert after - before < GROWTH_MB
            proxy.wait(lambda: sockets(proxy.process.pid) <= rest)  # pooled connections end after 4 s
            assert gauge(proxy, "sidewinder_requests_in_flight") == 0
            assert gauge(proxy, "sidewinder_bugs_total") == 0
            assert gauge(proxy, "sidewinder_config_applied_total") == 3 * SWAPS
            proxy.terminate()
            assert proxy.exit() == 0
