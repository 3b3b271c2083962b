"""`/callers`: each caller with what holds at the port that it called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sidewinder_sidecar.main import callers
from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.plan import Plan, build
from sidewinder_sidecar.snapshot import KINDS
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import MtlsSpec, PolicySpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointsSpec
from sidewinder_sidecar.telemetry.callers import Callers
from tests.support.memory import Scene

STRICT = PolicySpec(name="strict", mtls=MtlsSpec(mode="Strict", except_ports=(9090,), policy="shop/zero-trust"))


def made(*resources: Any) -> Plan:
    snapshot = {f"{KINDS[type(body)]}/{body.name}": body for body in resources}
    snapshot["proxy/self"] = ProxySpec(name="web-1", namespace="shop")
    steps = build(snapshot, Scene().fleet)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def port(number: int, policy: str = "") -> tuple[Any, ...]:
    name = f"inbound-{number}"
    service = ServiceSpec(name=name, namespace="shop", port=number, backend=name, policy=policy)
    return service, BackendSpec(name=name, endpoints=name), EndpointsSpec(name=name)


def pod() -> Plan:
    listener = ListenerSpec(
        name="inbound", direction="Inbound", address="0.0.0.0", port=15006, services=("inbound-8080", "inbound-9090"),
        pass_through=True, transparent=True,
    )  # fmt: skip
    return made(STRICT, listener, *port(8080), *port(9090, "strict"))


def process() -> Plan:
    listener = ListenerSpec(
        name="inbound", direction="Inbound", address="127.0.0.1", port=20001, default_service="inbound-8080"
    )
    return made(STRICT, listener, *port(8080, "strict"))


@pytest.mark.parametrize(
    ("plan", "number", "expected"),
    [
        pytest.param(pod(), 8080, ("Permissive", False), id="no-policy"),
        pytest.param(pod(), 9090, ("Strict", True), id="left-out"),
        pytest.param(pod(), 7000, ("Permissive", False), id="undeclared"),
        pytest.param(process(), 8080, ("Strict", False), id="of-a-local-process"),
        pytest.param(Plan(), 8080, ("Permissive", False), id="listener-gone"),
    ],
)
def test_what_holds_at_a_port(plan: Plan, number: int, expected: tuple[str, bool]) -> None:
    assert tuple(callers.asked(plan, "inbound", number).values()) == expected


def test_the_page() -> None:
    table = Callers()
    table.met("inbound", 9090, Peer("192.0.2.7", 1), 900.0)
    proxy = SimpleNamespace(callers=table, clock=lambda: 1000.0, plan=pod())
    told: Any = callers.told(SimpleNamespace(proxy=proxy, began=1.5))  # type: ignore[arg-type]
    (row,) = told["callers"]
    assert (told["since"], told["forgotten"]) == (1.5, 0)
    assert (row["caller"], row["mtls"], row["mode"], row["excepted"]) == ("192.0.2.7", False, "Strict", True)
