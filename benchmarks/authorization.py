"""`make bench-authorization`: what rules and lists of addresses cost a request. The engine alone, in one interpreter.

1. Judging one request from 10 to 1 000 rules, for each kind of rule; the caller is known, as on a kept connection.
   Asked for: 5 µs at 1 000 rules.
2. The same request from a caller that was never seen, each time another.
3. Whether an address is in a list of 1 000 to 100 000 CIDRs, from its text on. Asked for: 2 µs. And how long reading
   the list takes, the longest step of it, and what it keeps.
"""

from __future__ import annotations

import ipaddress
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Callable

from sidewinder_sidecar.filters.authorize import Authorizer
from sidewinder_sidecar.filters.authorize.addresses import Ranges, number, read
from sidewinder_sidecar.filters.authorize.engine import MOST_CALLERS
from sidewinder_sidecar.messages import Call, Peer
from sidewinder_sidecar.snapshot.authorization import (
    AccessRule,
    AuthorizationSpec,
    FromSpec,
    PathCondition,
    ToSpec,
    WhenSpec,
)
from tests.support.calls import call

COUNTS = (10, 100, 1_000)
CIDRS = (1_000, 10_000, 100_000)
ROUNDS = 15  # the smallest of so many counts: noise only adds
CALLS = 2_000
RULES_MICROSECONDS = 5.0
CIDRS_MICROSECONDS = 2.0
WHO = "spiffe://cluster.local/ns/shop/sa/client5"


def rule(number: int, source: FromSpec, target: ToSpec, *conditions: WhenSpec) -> AccessRule:
    """One Allow."""
    return AccessRule(name=f"rule{number}", sources=(source,), targets=(target,), conditions=conditions)


def path(text: str) -> ToSpec:
    """GET below a path."""
    return ToSpec(methods=("GET",), paths=(PathCondition(text),))


ANYONE = FromSpec(namespaces=("shop",))
# the request goes to /svc5/items of tenant5.example, by client5; the rule for it is neither the first nor the last
KINDS: dict[str, Callable[[int], AccessRule]] = {
    "account": lambda n: rule(n, FromSpec(service_accounts=(f"shop/client{n}",)), ToSpec()),
    "path": lambda n: rule(n, ANYONE, path(f"/svc{n}")),
    "both": lambda n: rule(n, FromSpec(service_accounts=(f"shop/client{n}",)), path(f"/svc{n}")),
    "host": lambda n: rule(n, ANYONE, ToSpec(hosts=(f"tenant{n}.example",))),
    "cidr": lambda n: rule(n, FromSpec(cidrs=(f"10.{n >> 8}.{n & 255}.0/24",)), path("/")),
    "claim": lambda n: rule(n, ANYONE, path("/"), WhenSpec(claim="groups", values=(f"group{n}",))),
    "header": lambda n: rule(n, ANYONE, path("/"), WhenSpec(header="x-tenant", values=(f"{n}",))),
    "no match": lambda n: rule(n, FromSpec(namespaces=("other",)), path(f"/other{n}")),
}


def authorizer(make: Callable[[int], AccessRule], count: int) -> Authorizer:
    """So many rules, and a Deny that asks for something else."""
    deny = AccessRule(name="no", action="Deny", targets=(ToSpec(paths=(PathCondition("/admin"),)),))
    spec = AuthorizationSpec(policy="shop/bench", rules=(deny, *(make(n) for n in range(count))))
    return Authorizer((spec,), "cluster.local", {}, 9080, lambda kind, action, policy: None)


def asked(address: str = "10.0.5.9", identity: str = WHO) -> Call:
    """The request."""
    made = call(
        b"/svc5/items/1",
        (b"x-tenant", b"5"),
        authority=b"tenant5.example:9080",
        peer=Peer(address, 40000, secure=True, identity=identity),
    )
    made.attributes = {"claims": {"groups": ["group5", "staff"]}}
    return made


def price(judge: Callable[[Call], object], calls: list[Call]) -> float:
    """Microseconds of one call."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.thread_time_ns()
        for one in calls:
            judge(one)
        best = min(best, (time.thread_time_ns() - before) / len(calls))
    return best / 1000


def rules() -> bool:
    """The first table, and the second in its last column."""
    print("one request, µs" + "".join(f"{count:>10}" for count in COUNTS) + f"{'growth':>10}{'unknown caller':>16}")
    good = True
    known = [asked()] * CALLS
    strangers = [asked(f"10.0.{n >> 8}.{n & 255}", f"{WHO[:-1]}{n}") for n in range(2 * MOST_CALLERS)]
    for kind, make in KINDS.items():
        made = [authorizer(make, count) for count in COUNTS]
        refused = made[-1].apply(known[0]) is not None
        assert refused == (kind == "no match"), kind
        costs = [price(each.apply, known) for each in made]
        fresh = price(authorizer(make, COUNTS[-1]).apply, strangers)
        good = good and costs[-1] <= RULES_MICROSECONDS
        print(
            f"{kind:<15}"
            + "".join(f"{cost:>10.2f}" for cost in costs)
            + f"{costs[-1] / costs[0] - 1:>+10.0%}{fresh:>16.2f}"
        )
    return good


def cidrs(count: int, family: int) -> tuple[str, ...]:
    """So many networks, sorted as the operator sends them."""
    drawn = random.Random(count)
    if family == 4:
        starts = sorted(drawn.sample(range(1 << 24), count))
        return tuple(f"{ipaddress.IPv4Address(start << 8)}/24" for start in starts)
    starts = sorted(drawn.sample(range(1 << 40), count))
    return tuple(f"{ipaddress.IPv6Address((0x20 << 120) | start << 72)}/56" for start in starts)


def addresses() -> bool:
    """The third table."""
    print(
        f"\n{'one address, µs':<15}"
        + "".join(f"{count:>10}" for count in CIDRS)
        + f"{'growth':>10}{'read, ms':>10}{'step':>7}{'kept, MB':>10}"
    )
    good = True
    for family in (4, 6):
        costs = []
        for count in CIDRS:
            written = cidrs(count, family)
            ranges, whole, longest = steps(written)
            some = [text.partition("/")[0] for text in random.Random(1).choices(written, k=CALLS)]
            costs.append(lookups(ranges, some))
        tracemalloc.start()
        kept = steps(written)[0]
        size = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        del kept
        good = good and costs[-1] <= CIDRS_MICROSECONDS
        print(
            f"{f'IPv{family}':<15}"
            + "".join(f"{cost:>10.2f}" for cost in costs)
            + f"{costs[-1] / costs[0] - 1:>+10.0%}{whole:>10.0f}{longest:>7.1f}{size:>10.1f}"
        )
    return good


def lookups(ranges: Ranges, some: list[str]) -> float:
    """Microseconds from an address's text to the answer."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.thread_time_ns()
        for text in some:
            ranges.holds(number(text))
        best = min(best, (time.thread_time_ns() - before) / len(some))
    return best / 1000


def steps(written: tuple[str, ...]) -> tuple[Ranges, float, float]:
    """A list as plan.build reads it: what came of it, how long it took and its longest step in milliseconds."""
    reading, whole, longest = read(written), 0.0, 0.0
    while True:
        before = time.thread_time()
        try:
            next(reading)
        except StopIteration as done:
            found: Ranges = done.value
            return found, whole * 1000, longest * 1000
        step = time.thread_time() - before
        whole, longest = whole + step, max(longest, step)


def main() -> int:
    """All tables; 1 when a figure is not what is asked for."""
    good = rules()
    good = addresses() and good
    print(f"\nload average {os.getloadavg()[0]:.1f}; ", end="")
    print(
        "as asked for"
        if good
        else f"NOT as asked for: {RULES_MICROSECONDS:g} µs a request, {CIDRS_MICROSECONDS:g} µs an address"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
