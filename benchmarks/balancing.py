"""`make bench-balancing`: what choosing an endpoint costs, from 10 to 10 000 of them. The balancers alone, in one
interpreter; what ships is compiled.

1. One pick by each algorithm, through `Backend.pick` as a request does it: with the budget, and what hashing a key
   costs. Asked for: the same for 10 000 endpoints as for 10, but for the ring, whose search is logarithmic, and for the
   processor's caches: no more than twice.
2. The same in the worst of times: half of the endpoints down, all of them new (slow start), a bound on the load.
3. What is built when endpoints change: how long it takes in all, its longest step (the loop is held so long), and what
   it keeps.
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    Balancing,
    EndpointsSpec,
    HeaderKey,
    LeastRequest,
    LocalitySpec,
    Maglev,
    PeakEWMA,
    Random,
    RingHash,
    RoundRobin,
)
from sidewinder_sidecar.upstream.backend import Backend
from sidewinder_sidecar.upstream.balance import prepare
from tests.support.calls import call
from tests.support.memory import Endpoint, endpoints

COUNTS = (10, 100, 1_000, 10_000)
ROUNDS = 7  # the smallest of so many counts: noise only adds
PICKS = 2_000
GROWTH = 2.0
STEP_MILLISECONDS = 5.0
KEYS = (HeaderKey("x-user"),)
ALGORITHMS: dict[str, Balancing] = {
    "RoundRobin": RoundRobin(),
    "LeastRequest": LeastRequest(),
    "Random": Random(),
    "PeakEWMA": PeakEWMA(),
    "RingHash": RingHash(keys=KEYS),
    "Maglev": Maglev(keys=KEYS),
}
CALLS = [call(b"/", (b"x-user", b"user-%d" % number)) for number in range(PICKS)]


def backend(balancing: Balancing, made: list[Endpoint], **options: Any) -> Backend:
    """One that calls these."""
    sources = BackendSpec(name="v1", endpoints="v1", balancing=balancing, **options), EndpointsSpec(name="v1")
    one = Backend("v1", sources, 0.0)
    one.zone = "a"
    one.serve(sources, {(each.uid, *each.address): each for each in made}, 0.0)
    return one


def price(pick: Callable[[float, Call], object]) -> float:
    """Microseconds of one."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.thread_time_ns()
        for one in CALLS:
            pick(1.0, one)
        best = min(best, (time.thread_time_ns() - before) / PICKS)
    return best / 1000


def picks() -> bool:
    """The first table."""
    print("one pick, µs    " + "".join(f"{count:>10}" for count in COUNTS) + f"{'growth':>10}")
    good = True
    for name, balancing in ALGORITHMS.items():
        costs = [price(backend(balancing, endpoints(*[1] * count)).pick) for count in COUNTS]
        good = good and costs[-1] <= GROWTH * costs[0]
        print(f"{name:<16}" + "".join(f"{cost:>10.2f}" for cost in costs) + f"{costs[-1] / costs[0]:>9.1f}×")
    return good


def worst() -> bool:
    """The second."""
    print("\n10 000, µs      " + "".join(f"{what:>12}" for what in ("half down", "all new", "zones", "bounded")))
    for name, balancing in ALGORITHMS.items():
        made = endpoints(*[1] * 10_000)
        for number, one in enumerate(made):
            one.usable = bool(number % 2)
            one.zone = "ab"[number % 3 > 0]
        hashes = isinstance(balancing, RingHash | Maglev)
        costs = [price(backend(balancing, made).pick)]
        for one in made:
            one.usable = True
            one.begin_slow_start(0.0)
        costs.append(price(backend(balancing, made, slow_start=10.0).pick))
        for one in made:
            one.active = 5
        zoned = f"{price(backend(balancing, made, locality=LocalitySpec()).pick):.2f}"
        bounded = f"{price(backend(bound(balancing), made).pick):.2f}" if hashes else ""
        print(f"{name:<16}" + "".join(f"{cost:>12.2f}" for cost in costs) + f"{zoned:>12}{bounded:>12}")
    return True


def bound(balancing: Balancing) -> Balancing:
    """The same with a bound of 125 %."""
    maker = type(balancing)
    assert issubclass(maker, RingHash | Maglev)
    return maker(keys=KEYS, balance_factor=125)


def builds() -> bool:
    """The third."""
    print(f"\n{'10 000, built':<16}{'in all, ms':>12}{'step, ms':>12}{'serve, ms':>12}{'kept, MB':>12}")
    good = True
    made = endpoints(*[1] * 10_000)
    keyed = {(each.uid, *each.address): each for each in made}
    for name, balancing in ALGORITHMS.items():
        one = backend(balancing, made[:1])
        whole, longest, table = steps(balancing, made)
        before = time.thread_time()
        one.serve(one.sources, keyed, 0.0, table)
        served = time.thread_time() - before
        tracemalloc.start()
        kept = steps(balancing, made)[2]
        size = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        del kept
        good = good and longest * 1000 <= STEP_MILLISECONDS
        print(f"{name:<16}{whole * 1000:>12.0f}{longest * 1000:>12.1f}{served * 1000:>12.1f}{size:>12.1f}")
    return good


def steps(balancing: Balancing, made: list[Endpoint]) -> tuple[float, float, Any]:
    """A table as plan.build makes it: seconds in all, of the longest step, and the table."""
    making, whole, longest = prepare(balancing, made, [1] * len(made), None), 0.0, 0.0
    while True:
        before = time.thread_time()
        try:
            next(making)
        except StopIteration as done:
            return whole, longest, done.value
        step = time.thread_time() - before
        whole, longest = whole + step, max(longest, step)


def main() -> int:
    """All tables; 1 when a figure is not what is asked for."""
    good = [table() for table in (picks, worst, builds)]
    print(f"\nload average {os.getloadavg()[0]:.1f}; ", end="")
    asked = f"NOT as asked for: {GROWTH:g} times the cost of 10 endpoints, {STEP_MILLISECONDS:g} ms a step"
    print("as asked for" if all(good) else asked)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
