"""Servers that do not speak HTTP, or speak first, through Services."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.bed.waiting import BedError, until
from tests.cluster.support.namespace import Namespace

pytestmark = pytest.mark.cluster

SPEAK = """
import socket
with socket.create_connection(("banner", 25), 5) as talk:
    lines = talk.makefile("rwb", 0)
    print(lines.readline().decode(), end="")  # before anything was sent
    lines.write(b"hello\\r\\nQUIT\\r\\n")
    print(lines.read().decode(), end="")
"""


@pytest.fixture(scope="module")
def stores(namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    with namespaces("stores") as fresh:
        fresh.apply("stores.yaml")
        for name in ("postgres", "redis", "banner", "client"):
            fresh.wait_for(f"Pod/{name}")
        yield fresh


def answer(namespace: Namespace, *command: str) -> str:
    """A Service takes a moment to know its pod on every node."""
    said: list[str] = []

    def asked() -> bool:
        try:
            said.append(namespace.run_in_pod("client", *command))
        except BedError as error:
            raise OSError(str(error)) from error
        return True

    until(f"an answer to {command[0]}", asked, 20, 0.2)
    return said[-1].strip()


def test_postgres(stores: Namespace) -> None:
    statement = "create temporary table t as select generate_series(1, 1000) as n; select sum(n) from t"
    words = ("psql", "--host=postgres", "--username=postgres", "--quiet", "--tuples-only", "--no-align", "--command")
    assert answer(stores, *words, statement) == "500500"


def test_redis(stores: Namespace) -> None:
    assert answer(stores, "redis-cli", "-h", "redis", "set", "key", "value") == "OK"
    assert answer(stores, "redis-cli", "-h", "redis", "get", "key") == "value"


def test_a_server_that_speaks_first(stores: Namespace) -> None:
    assert answer(stores, "python3", "-c", SPEAK).splitlines() == ["220 banner ready", "250 hello", "221 bye"]
