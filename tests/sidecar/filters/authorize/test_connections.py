"""Relayed connections between two proxies over real mTLS: the certificate that was shown says who may connect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sidewinder_sidecar.filters.context import Context
from sidewinder_sidecar.plan.guards import make
from sidewinder_sidecar.snapshot.authorization import AccessRule, FromSpec, PathCondition, ToSpec
from sidewinder_sidecar.snapshot.policies import PolicySpec
from tests.support.access import TRUST_DOMAIN, section
from tests.support.authority import trust
from tests.support.identities import identity, named
from tests.support.sockets import run, serving, until
from tests.support.two_proxies import PORT, One, keys, proxies

WEB = AccessRule(name="web", sources=(FromSpec(service_accounts=("shop/web",)),))
CASES = [
    ("who may", (WEB,), "shop/policy/web", True),
    ("who else may", (AccessRule(name="cart", sources=(FromSpec(service_accounts=("shop/cart",)),)),),
     "shop/policy/defaultAction", False),
    ("who is denied", (WEB, AccessRule(name="no", action="Deny", sources=(FromSpec(namespaces=("shop",)),))),
     "shop/policy/no", False),
    ("an allow of paths", (AccessRule(name="r", sources=WEB.sources, targets=(ToSpec(paths=(PathCondition("/"),)),)),),
     "shop/policy/defaultAction", False),
    ("a deny of paths", (WEB, AccessRule(name="no", action="Deny", targets=(ToSpec(paths=(PathCondition("/a"),)),))),
     "shop/policy/no", False),
    ("another port", (AccessRule(name="r", sources=WEB.sources, targets=(ToSpec(ports=(PORT + 1,)),)),),
     "shop/policy/defaultAction", False),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two identities of one trust."""
    by, made = trust(), tmp_path_factory.mktemp("identities")
    identity(made / "web", by, named("web"))
    identity(made / "reviews", by, named("reviews"))
    return made


def guard(one: One, *rules: AccessRule) -> None:
    """What holds on its one service from here on."""
    context = Context(one.proxy.fleet.means, one.proxy.wheel, {}, {}, {}, TRUST_DOMAIN)
    (service,) = one.proxy.plan.services.values()
    service.guard = make(PolicySpec(name="p", authorization=(section(*rules),)), PORT, context)


async def backwards(reader: Any, writer: Any) -> None:
    said = await reader.read()
    writer.write(said[::-1])
    await writer.drain()


@pytest.mark.parametrize(
    ("rules", "decision", "allowed"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_who_may_connect(folder: Path, rules: tuple[AccessRule, ...], decision: str, allowed: bool) -> None:
    async def main() -> None:
        async with (
            serving(backwards) as port,
            proxies(port, keys(folder / "web"), keys(folder / "reviews")) as (outside, inside),
        ):
            guard(inside, *rules)
            reader, writer = await asyncio.open_connection("127.0.0.1", outside.listener.port)
            writer.write(b"\x00abc")
            writer.write_eof()
            try:
                answer = await asyncio.wait_for(reader.read(), 10)
            except ConnectionResetError:
                answer = b""
            assert answer == (b"cba\x00" if allowed else b"")
            writer.close()
            await until(lambda: inside.relayed and not inside.listener.connections)
            (told,) = inside.relayed
            assert told.error == ("" if allowed else "denied")
            assert (told.decision or told.peer.decision) == decision
            action = "Allow" if allowed else "Deny"
            assert ("authorization", action, "shop/policy") in inside.proxy.fleet.means.decisions

    run(main)
