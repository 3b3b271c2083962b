"""What versions say: learned as they are sent, forgotten in order."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery import contents as module
from sidewinder_operator.discovery.contents import Contents
from sidewinder_sidecar.snapshot import encode, version
from sidewinder_sidecar.snapshot.proxy import ProxySpec


def endpoints(number: int, *ready: str, name: str = "endpoints/shop/a:80") -> Encoded:
    return Encoded(name, f"v{number}", b"{}", None, (), frozenset(ready))


def proxy(**more: object) -> Encoded:
    raw = encode(ProxySpec(name="a", namespace="shop", **more))  # type: ignore[arg-type]
    return Encoded("proxy/self", version(raw), raw, None, ())


def test_a_version_of_endpoints_names_pods() -> None:
    contents = Contents()
    contents.learn(endpoints(1, "a", "b"))
    contents.learn(endpoints(2, "b"))
    assert contents.knows("endpoints/shop/a:80", "v1")
    assert not contents.knows("endpoints/shop/a:80", "v3")
    assert not contents.knows("endpoints/shop/b:80", "v1")
    assert contents.naming({"a"}) == {"endpoints/shop/a:80": {"v1": {"a", "b"}, "v2": {"b"}}}
    assert contents.naming({"c"}) == {}


def test_what_a_proxy_calls_its_own_application_names_nobody_to_others() -> None:
    contents = Contents()
    contents.learn(endpoints(1, "a", name="endpoints/inbound-8080"))
    contents.learn(endpoints(1, "a", name="endpoints/inbound-8080/web:80"))  # a namespace may be called like that
    assert contents.naming({"a"}).keys() == {"endpoints/inbound-8080/web:80"}


def test_what_was_forgotten_may_have_named_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSIONS", 2)
    contents = Contents()
    for number, pod in enumerate("abcb"):
        contents.learn(endpoints(number % 3, pod))
    assert not contents.knows("endpoints/shop/a:80", "v1")
    assert contents.naming({"nobody"}).keys() == {"endpoints/shop/a:80"}


def test_learning_again_keeps_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSIONS", 2)
    contents = Contents()
    for number in (1, 2, 1, 3):
        contents.learn(endpoints(number, "a"))
    assert contents.knows("endpoints/shop/a:80", "v1")
    assert not contents.knows("endpoints/shop/a:80", "v2")


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES", 3)
    contents = Contents()
    leaving = [proxy(terminating=True, service=f"s{number}") for number in range(5)]
    for number, one in enumerate(leaving):
        contents.learn(endpoints(1, "a", name=f"endpoints/shop/{number}:80"))
        contents.learn(one)
    assert len(contents.ready) == 3
    assert [contents.is_leaving(one.version) for one in leaving] == [False, False, True, True, True]


def test_who_leaves_is_told_by_its_own_resource() -> None:
    contents = Contents()
    for one in (proxy(), proxy(labels={"terminating": "true"})):
        contents.learn(one)
        assert not contents.is_leaving(one.version)
    contents.learn(proxy(terminating=True))
    assert contents.is_leaving(proxy(terminating=True).version)
    assert not contents.is_leaving(None)


def test_a_last_resort_is_told_by_its_own_resource_too() -> None:
    contents = Contents()
    kept, leaves, stays = proxy(terminating=True, last_resort=True), proxy(terminating=True), proxy(last_resort=True)
    for one in (kept, leaves, stays):
        contents.learn(one)
    assert [contents.is_leaving(one.version) for one in (kept, leaves, stays)] == [True, True, False]
    assert [contents.is_kept(one.version) for one in (kept, leaves, stays)] == [True, False, False]
    assert not contents.is_kept(None)


def test_who_is_named_is_told_by_the_newest_version() -> None:
    contents = Contents()
    for number, ready in ((1, ("a", "b")), (2, ("b",))):
        contents.learn(endpoints(number, *ready))
    contents.learn(endpoints(1, "b", name="endpoints/shop/b:81"))
    assert contents.last_named("b") == ["shop/a:80", "shop/b:81"]
    assert contents.last_named("a") == []
