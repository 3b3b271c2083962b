import sys

import msgspec
import pytest

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.discovery import transaction
from sidewinder_sidecar.discovery.transaction import LAG_SECONDS, Held, Lag, Refusal, Transaction, decode
from sidewinder_sidecar.snapshot.stream import LAGGING, Begin, Commit, Drop, Malformed, Set
from sidewinder_sidecar.snapshot.upstreams import EndpointsSpec


def endpoints(name):
    return snapshot.encode(EndpointsSpec(name=name))


def put(name, raw=None, of=None, version=None):
    raw = endpoints(name.partition("/")[2]) if raw is None else raw
    return Set(name, version or snapshot.version(raw), msgspec.Raw(raw), of)


def state(*names):
    return snapshot.state({f"endpoints/{name}": snapshot.version(endpoints(name)) for name in names})


def done(held, to, *messages, lag=None, now=0.0):
    under_way = Transaction(Begin(7, to), held, lag or Lag())
    for message in messages:
        if isinstance(message, Set):
            under_way.set(message, now)
        else:
            under_way.drop(message)
    return under_way.commit(Commit(7))


def test_sets_and_drops_lead_to_a_state():
    first = done(Held(), state("a", "b"), put("endpoints/a", of=("uid", 1)), put("endpoints/b"))
    assert (list(first.resources), first.state) == (["endpoints/a", "endpoints/b"], state("a", "b"))
    assert first.resources["endpoints/a"].name == "a"
    second = done(first, state("b"), Drop("endpoints/a"), Drop("endpoints/never-there"))
    assert (list(second.versions), second.origins) == (["endpoints/b"], {})
    assert list(first.versions) == ["endpoints/a", "endpoints/b"]  # what serves is not touched


def test_what_was_dropped_leaves_no_holes_for_the_next_transaction_to_copy():
    count = 3 * snapshot.NAMES_AT_ONCE
    names = [f"endpoints/{number}" for number in range(count)]
    held = Held(
        dict.fromkeys(names, EndpointsSpec(name="a")), dict.fromkeys(names, "1"), dict.fromkeys(names[::2], ("uid", 1))
    )
    under_way = Transaction(Begin(1, snapshot.state(dict.fromkeys(names[-9:], "1"))), held, Lag())
    for name in names[:-9]:
        under_way.drop(Drop(name))
    steps, found = under_way.hashing(), ""
    while not found:
        try:
            next(steps)
        except StopIteration as told:
            found = told.value
    after = under_way.commit(Commit(1), found)
    assert [list(after.versions), list(after.resources), list(after.origins)] == [names[-9:], names[-9:], names[-8::2]]
    for part in (after.versions, after.resources, after.origins):
        assert sys.getsizeof(part) < sys.getsizeof(held.origins) / 100
    assert len(held.versions) == count


def test_an_equal_set_is_an_empty_commit():
    held = done(Held(), state("a"), put("endpoints/a"))
    assert done(held, state("a")).state == held.state


LIES = {
    "a version that is not the hash": (put("endpoints/a", version="0" * 16), "endpoints/a", "", "hash"),
    "an unknown kind": (put("sorcery/a", b"{}"), "sorcery/a", "", "known are proxy, listener"),
    "no kind": (put("", b"{}"), "", "", "known are"),
    "an unknown field": (put("endpoints/a", b'{"name":"a","speed":1}'), "endpoints/a", "", "speed"),
    "a wrong type": (
        put("endpoints/a", b'{"name":"a","endpoints":[{"uid":"u","address":"1","port":"x"}]}'),
        "endpoints/a", "endpoints[0].port", "Expected `int`",
    ),
    "a missing field": (put("endpoints/a", b"{}"), "endpoints/a", "", "name"),
    "no object": (put("endpoints/a", b"[]"), "endpoints/a", "", "object"),
}  # fmt: skip


@pytest.mark.parametrize(("message", "resource", "field", "why"), LIES.values(), ids=LIES)
def test_a_lie_is_refused_with_its_place(message, resource, field, why):
    with pytest.raises(Refusal) as found:
        done(Held(), "whatever", message, put("endpoints/fine"))
    assert (found.value.resource, found.value.field) == (resource, field)
    assert why in found.value.why
    assert " - at `" not in found.value.why


def test_a_state_that_does_not_add_up_is_refused():
    with pytest.raises(Refusal, match="leads to state"):
        done(Held(), state("a", "b"), put("endpoints/a"))


def test_another_commit_is_malformed():
    with pytest.raises(Malformed, match="commit 8 within transaction 7"):
        Transaction(Begin(7, ""), Held(), Lag()).commit(Commit(8))


def test_bounds(monkeypatch):
    monkeypatch.setattr(transaction, "MAX_RESOURCES", 2)
    with pytest.raises(Refusal, match="resources at once"):
        done(Held(), "x", *(put(f"endpoints/{name}") for name in "abc"))
    monkeypatch.setattr(transaction, "MAX_BYTES", 10)
    with pytest.raises(Refusal, match="MB"):
        done(Held(), "x", put("endpoints/a"))


def test_a_replica_that_lags_is_refused_for_a_while_and_then_believed():
    lag = Lag()
    held = done(Held(), state("a"), put("endpoints/a", of=("uid", 5)), lag=lag)
    older = put("endpoints/a", of=("uid", 4))
    for now in (100.0, 100.0 + LAG_SECONDS - 1):
        with pytest.raises(Refusal, match=LAGGING):
            done(held, state("a"), older, lag=lag, now=now)
    assert done(held, state("a"), older, lag=lag, now=100.0 + LAG_SECONDS).origins == {"endpoints/a": ("uid", 4)}


@pytest.mark.parametrize("of", [("other", 1), ("uid", 5), ("uid", 6), None])
def test_another_object_or_a_newer_one_does_not_lag(of):
    held = done(Held(), state("a"), put("endpoints/a", of=("uid", 5)))
    done(held, state("a"), put("endpoints/a", of=of))


def test_decode_says_where():
    with pytest.raises(Refusal, match=r"endpoints/a name: Expected `str`"):
        decode("endpoints/a", b'{"name":1}')
    with pytest.raises(Refusal):
        decode("endpoints/a", b'\xff{"name')
    assert repr(Held()) == "<Held  0 resources>"


def test_what_is_nested_without_end_is_refused():
    for body in (b"[" * 100_000, b'{"name":' * 100_000):
        with pytest.raises(Refusal):
            decode("proxy/self", body)
