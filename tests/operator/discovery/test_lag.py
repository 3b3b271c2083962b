"""What is measured between publishing and acknowledging, and what is not."""

from __future__ import annotations

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.discovery.lag import Lag
from sidewinder_operator.discovery.session import Rejection
from sidewinder_operator.discovery.store import Store
from sidewinder_sidecar import snapshot


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.seen: list[float] = []
        self.store = Store()
        self.acks = Acks(self.store)
        self.lag = Lag(self.acks, self.seen.append, lambda: self.now)

    def publish(self, value: int, *workloads: str) -> None:
        raw = b'{"value":%d}' % value
        one = Encoded("route/a", snapshot.version(raw), raw, None, ())
        self.lag.published(self.store.publish({workload: {one.name: one} for workload in workloads}))

    def acknowledge(self, workload: str) -> None:
        self.acks.tell(workload, Having(versions=dict(self.store.pictures[workload].versions)))


def test_the_time_from_the_first_of_several_pictures_counts() -> None:
    bench = Bench()
    bench.publish(1, "a")
    bench.acknowledge("a")
    assert bench.seen == [], "it had no stream when that was published"
    bench.publish(2, "a")
    bench.now += 0.5
    bench.publish(3, "a")
    bench.now += 0.25
    bench.acknowledge("a")
    assert bench.seen == [0.75]
    bench.acknowledge("a")
    assert bench.seen == [0.75]
    assert bench.lag.waiting() == 0


def test_neither_a_refusal_nor_an_end_is_slowness() -> None:
    bench = Bench()
    bench.publish(1, "a", "b")
    bench.acknowledge("a")
    bench.acknowledge("b")
    bench.publish(2, "a", "b")
    assert bench.lag.waiting() == 2
    why = Rejection(versions={}, resource="route/a", field="", why="no")
    bench.acks.tell("a", Having(rejections={"route/a": why}))
    bench.acks.gone("b", 0)
    assert bench.lag.waiting() == 0
    assert bench.seen == []
