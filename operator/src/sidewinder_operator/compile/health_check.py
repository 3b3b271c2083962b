"""Section `healthCheck`: times become seconds. Who asks whom is `probers`'; what one is told to do is made here."""

from __future__ import annotations

from collections.abc import Iterable

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.health_check import MeshCheck, MeshHealthCheck
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.health_check import HealthCheck
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec, HttpCheckSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec


def build(written: HealthCheck, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant."""
    http = written.http
    meant = MeshHealthCheck(
        path=http.path if http is not None else "",
        statuses=tuple(sorted(http.expected_statuses)) if http is not None else (),
        interval=seconds(written.interval),
        timeout=seconds(written.timeout),
        healthy=written.healthy_threshold,
        unhealthy=written.unhealthy_threshold,
    )
    return meant, ()


def spec(checks: Iterable[MeshCheck]) -> ChecksSpec:
    """All that one prober does, as sent."""
    return ChecksSpec(checks=tuple(map(_check, checks)))


def _check(check: MeshCheck) -> CheckSpec:
    section = check.section
    return CheckSpec(
        name=check.port,
        authority=check.authority,
        http=HttpCheckSpec(path=section.path, statuses=section.statuses) if section.path else None,
        interval=section.interval,
        timeout=section.timeout,
        healthy=section.healthy,
        unhealthy=section.unhealthy,
        endpoints=tuple(
            EndpointSpec(uid=each.uid, address=each.address, port=each.port, identity=each.identity)
            for each in check.endpoints
        ),
    )


ROW = Row("healthCheck", HealthCheck, read_spec("healthCheck"), build)
