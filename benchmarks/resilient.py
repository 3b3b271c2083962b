"""What Sidewinder's configuration has more where all of resilience is on. Called by subjects.

Three endpoints a version, chosen by what they answer in, with slow start, breakers, limits, health checks and a retry
budget; adaptive concurrency and size limits at the way in; 1 % mirrored, faults for who asks for them by header.
"""

from __future__ import annotations

import msgspec

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import checks, filters, policies, upstreams

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
SERVICE, ROUTE = "service/bench/all:80", "route/bench/all"
VERSIONS = ("bench/v1:80", "bench/v2:80")
SIZES = policies.SizesSpec(request_headers=16_384, request_body=10 << 20, response_body=10 << 20)
OWN = (filters.Mirror(backend="bench/v2:80", numerator=1, denominator=100), filters.Fault(headers=True))


def change(resources: snapshot.Snapshot, backend: int) -> snapshot.Snapshot:
    """All of it, on what `features` says; the versions are served at port `backend`."""
    made = dict(resources)
    for name in VERSIONS:
        made[f"backend/{name}"] = called(name)
        made[f"endpoints/{name}"] = upstreams.EndpointsSpec(name=name, endpoints=endpoints(name, backend))
    asked = checks.HttpCheckSpec(path="/api/1k")
    made["checks/self"] = checks.ChecksSpec(
        checks=tuple(
            checks.CheckSpec(name=name, authority="bench", http=asked, interval=1.0, endpoints=endpoints(name, backend))
            for name in VERSIONS
        )
    )
    adaptive = policies.AdaptiveConcurrencySpec(policy="bench/all", target_latency=0.05)
    made["policy/bench"] = policies.PolicySpec(name="bench", adaptive_concurrency=(adaptive,), size_limits=SIZES)
    made[SERVICE] = msgspec.structs.replace(made[SERVICE], policy="bench")
    rules = tuple(
        msgspec.structs.replace(rule, filters=(*rule.filters, *OWN)) if rule.filters else rule
        for rule in made[ROUTE].rules  # type: ignore[union-attr]
    )
    made[ROUTE] = msgspec.structs.replace(made[ROUTE], rules=rules)
    return made


def called(name: str) -> upstreams.BackendSpec:
    """How one version is called."""
    many = upstreams.LimitsSpec(requests=1000, pending=1000, connections=1000)
    each = upstreams.LimitsSpec(requests=500, connections=500)
    return upstreams.BackendSpec(
        name=name,
        endpoints=name,
        service=name.partition(":")[0],
        balancing=upstreams.PeakEWMA(),
        slow_start=10.0,
        breaker=upstreams.BreakerSpec(rate=upstreams.FailureRateSpec()),
        concurrency=upstreams.ConcurrencySpec(whole=many, endpoint=each),
    )


def endpoints(name: str, port: int) -> tuple[upstreams.EndpointSpec, ...]:
    """Three of a version."""
    return tuple(upstreams.EndpointSpec(uid=f"{name}-{one}", address=one, port=port) for one in ADDRESSES)
