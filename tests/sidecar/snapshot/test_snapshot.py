"""The contract's bytes: equal bodies are equal bytes, what is not in the contract is refused with its place."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot.routes import RetrySpec, RouteSpec, RuleSpec, WeightedBackend
from tests.support.memory import shop

BODIES = [*shop(), RouteSpec(name="a/b", rules=(RuleSpec(name="r", retry=RetrySpec(codes=(503,))),))]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_a_body_comes_back_as_it_was(body):
    name = f"{snapshot.KINDS[type(body)]}/x"
    raw = snapshot.encode(body)
    assert snapshot.decode(name, raw) == body
    assert snapshot.encode(snapshot.decode(name, raw)) == raw
    assert len(snapshot.version(raw)) == 16


@pytest.mark.parametrize(
    ("name", "raw", "place"),
    [
        ("route/a", b'{"name":"a","rules":[{"name":"r","wieght":1}]}', r"wieght.*\$\.rules\[0\]"),
        ("route/a", b'{"name":"a","rules":[{"name":"r","backends":[{"backend":"b","weight":"1"}]}]}', r"weight"),
        ("route/a", b'{"name":"a"}', "rules"),
        ("listener/a", b'{"name":"a","direction":"Sideways","address":"::","port":1}', r"\$\.direction"),
        ("backend/a", b'{"name":"a","endpoints":"e","balancing":{"type":"Fastest"}}', r"\$\.balancing"),
        ("backend/a", b'{"name":"a","endpoints"', "truncated"),
    ],
)
def test_what_is_not_in_the_contract_is_refused(name, raw, place):
    with pytest.raises(msgspec.DecodeError, match=place):
        snapshot.decode(name, raw)


def test_a_kind_that_is_none():
    with pytest.raises(KeyError, match="cluster"):
        snapshot.decode("cluster/a", b"{}")


def test_a_state_is_named_by_what_is_in_it_not_by_its_order():
    assert snapshot.state({"a": "1", "b": "2"}) == snapshot.state({"b": "2", "a": "1"})
    assert snapshot.state({"a": "1", "b": "2"}) != snapshot.state({"a": "2", "b": "1"})
    assert snapshot.version(snapshot.encode(BODIES[0])) != snapshot.version(snapshot.encode(BODIES[1]))


def test_bodies_are_frozen():
    with pytest.raises(AttributeError):
        WeightedBackend(backend="a").weight = 2


@pytest.mark.parametrize("count", [0, 1, 4096, 4097, 30_000])
def test_names_are_sorted_in_steps_as_at_once(count):
    names = [f"route/{(n * 7919) % 30_011}" for n in range(count)]
    found = []

    def run():
        found.append((yield from snapshot.in_order(iter(names))))

    steps = sum(1 for _ in run())
    assert found == [sorted(names)]
    runs = -(-count // snapshot.NAMES_AT_ONCE)
    assert steps >= runs


def test_a_state_is_the_same_in_steps_and_at_once():
    versions = {f"route/r{n}": f"{n:016x}" for n in range(10_000)}
    found = []

    def run():
        found.append((yield from snapshot.hashing(dict(reversed(versions.items())))))

    count = sum(1 for _ in run())
    text = "\n".join(f"{name} {versions[name]}" for name in sorted(versions))
    assert found[0] == snapshot.state(versions) == snapshot.version(text.encode())
    assert count == 3 + 2 + 1 + 3  # three runs are sorted, merged by twos, then hashed a run at a time
    assert snapshot.state({}) == snapshot.version(b"")
