"""named: what policies name is followed by its name, and nothing else of its kind is ever asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.compile.needs import Need
from sidewinder_operator.resources.core import Secret
from sidewinder_operator.watch.named import Named
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually

SECRETS, CONFIGS = "/api/v1/secrets", "/api/v1/configmaps"
KEYS, OFFICE = Need("Secret", "shop", "keys"), Need("ConfigMap", "shop", "office")


def secret(name: str, value: bytes = b"v", namespace: str = "shop") -> dict[str, Any]:
    data = {"k": base64.b64encode(value).decode()}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}, "data": data}


def follow(work: Callable[[Named, FakeApiServer], Awaitable[None]], patience: float = 5.0) -> list[int]:
    """Runs it; returns how often changes were told."""
    rings: list[int] = []

    async def main() -> None:
        async with FakeApiServer().serving() as server:
            api = ApiServer(server.url)
            tasks: list[asyncio.Task[None]] = []

            def start(name: str, run: Callable[[], Any]) -> asyncio.Task[None]:
                tasks.append(asyncio.create_task(run(), name=name))
                return tasks[-1]

            await work(Named(api, lambda: rings.append(1), start, patience=patience), server)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await api.close()

    asyncio.run(asyncio.wait_for(main(), 30))
    return rings


def values(named: Named) -> list[bytes | None]:
    return [each.found.value("k") for each in named.records() if isinstance(each.found, Secret)]


def test_only_what_is_named_is_asked_for() -> None:
    async def work(named: Named, server: FakeApiServer) -> None:
        server.put(SECRETS, secret("keys", b"one"))
        server.put(SECRETS, secret("other"))
        server.put(SECRETS, secret("keys", b"of another namespace", "lab"))
        named.follow({KEYS, OFFICE})
        assert named.unsettled() == {KEYS, OFFICE}
        await named.settled()
        assert named.unsettled() == frozenset()
        assert values(named) == [b"one"]
        asked = {(path, query.get("fieldSelector")) for _, path, query in server.requests}
        assert asked == {
            ("/api/v1/namespaces/shop/secrets", "metadata.name=keys"),
            ("/api/v1/namespaces/shop/configmaps", "metadata.name=office"),
        }

    follow(work)


def test_a_change_is_told_at_once_and_a_deletion_too() -> None:
    async def work(named: Named, server: FakeApiServer) -> None:
        server.put(SECRETS, secret("keys", b"one"))
        named.follow({KEYS})
        await named.settled()
        server.put(SECRETS, secret("keys", b"two"))
        await eventually(lambda: values(named) == [b"two"], 1)
        server.delete(SECRETS, "keys", "shop")
        await eventually(lambda: values(named) == [], 1)
        server.put(SECRETS, secret("keys", b"three"))
        await eventually(lambda: values(named) == [b"three"], 1)

    assert len(follow(work)) >= 4


def test_what_nobody_names_any_more_is_let_go() -> None:
    async def work(named: Named, server: FakeApiServer) -> None:
        server.put(SECRETS, secret("keys"))
        named.follow({KEYS})
        await named.settled()
        await eventually(lambda: server.streams == 1)
        named.follow(set())
        assert values(named) == []
        await eventually(lambda: server.streams == 0)

    follow(work)


def test_what_may_not_be_read_is_absent_when_patience_ends() -> None:
    async def work(named: Named, server: FakeApiServer) -> None:
        server.failing = 403
        named.follow({KEYS})
        await named.settled()
        await eventually(lambda: named.unsettled() == frozenset())
        assert values(named) == []

    assert follow(work, patience=0.2), "somebody must look again when it ends"


def test_it_shows_no_secret() -> None:
    async def work(named: Named, server: FakeApiServer) -> None:
        server.put(SECRETS, secret("keys", b"s3cr3t"))
        named.follow({KEYS})
        await named.settled()
        assert "s3cr3t" not in f"{named!r} {list(named.records())!r}"

    follow(work)
