"""The newest picture per workload: shared lines, and who is woken."""

from __future__ import annotations

from collections.abc import Iterable

from sidewinder_operator.compile.project import Encoded, Layer
from sidewinder_operator.discovery.store import MOST_HOPES, Line, Lines, Store
from sidewinder_operator.problems import Reference
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import stream


def encoded(name: str, value: int, of: tuple[str, int] | None = None, *sources: Reference) -> Encoded:
    raw = b'{"value":%d}' % value
    return Encoded(name, snapshot.version(raw), raw, of, sources)


def test_lines_are_whole_messages_and_shared_by_workloads() -> None:
    store = Store()
    one = {"route/a": encoded("route/a", 1, ("uid", 3))}
    store.publish({"x": one, "y": {"route/a": encoded("route/a", 1, ("uid", 3))}})
    line = store.pictures["x"].resources["route/a"]
    assert line is store.pictures["y"].resources["route/a"]
    message = stream.to_client(line.line)
    assert isinstance(message, stream.Set)
    assert (message.set, bytes(message.body), message.of) == ("route/a", b'{"value":1}', ("uid", 3))
    assert message.version == line.version


def test_an_equal_snapshot_changes_nothing_and_wakes_nobody() -> None:
    store = Store()
    woken: list[str] = []
    store.watch(lambda: woken.append("x"), "x")
    assert store.publish({"x": {"route/a": encoded("route/a", 1)}}) == ["x"]
    before = store.pictures["x"]
    assert store.publish({"x": {"route/a": encoded("route/a", 1)}}) == []
    assert store.pictures["x"] is before
    assert woken == ["x"]


def test_only_those_affected_are_woken() -> None:
    store = Store()
    woken: list[str] = []
    store.watch(lambda: woken.append("x"), "x")
    stop = store.watch(lambda: woken.append("y"), "y")
    store.publish({"x": {"route/a": encoded("route/a", 1)}, "y": {"route/b": encoded("route/b", 1)}})
    store.publish({"x": {"route/a": encoded("route/a", 2)}, "y": {"route/b": encoded("route/b", 1)}})
    assert woken == ["x", "y", "x"]
    stop()
    store.publish({"x": {"route/a": encoded("route/a", 2)}, "y": {"route/b": encoded("route/b", 2)}})
    assert woken == ["x", "y", "x"]


def test_a_workload_that_is_gone_loses_its_picture() -> None:
    store = Store()
    store.publish({"x": {}, "y": {}})
    assert store.publish({"y": {}}) == ["x"]
    assert [*store.pictures] == ["y"]


def test_a_new_generation_with_equal_content_keeps_the_state_and_tells_the_new_origin() -> None:
    store = Store()
    store.publish({"x": {"route/a": encoded("route/a", 1, ("uid", 1))}})
    state = store.pictures["x"].state
    assert store.publish({"x": {"route/a": encoded("route/a", 1, ("uid", 2))}}) == []
    assert store.pictures["x"].state == state
    assert store.pictures["x"].resources["route/a"].of == ("uid", 2)


def test_layers_are_one_and_the_later_ones_hold() -> None:
    a, b, other = (Line(version, b"", None, ()) for version in "123")
    lines = Lines([{"a": a, "b": b}, {}, {"b": other, "c": a}])
    assert dict(lines) == lines == {"a": a, "b": other, "c": a}
    assert (len(lines), lines.get("d"), "b" in lines, [*lines]) == (3, None, True, ["a", "b", "c"])


def test_a_picture_says_what_it_is() -> None:
    store = Store()
    store.publish({"x": {}})
    assert repr(store.pictures["x"]) == f"<Picture {snapshot.state({})}: 0 resources>"


# ── layers, and what is wanted beyond them ────────────────────────────────────────────────────────────────────────

ROUTE = Reference("ApiRoute", "shop", "web")


class Projected:
    """A projection by hand: two workloads share a layer, and `places` says what exists beyond it."""

    def __init__(self, shared: Layer, places: dict[str, Layer]) -> None:
        self.shared = shared
        self.places = places
        self.settled = False

    def identities(self) -> tuple[str, ...]:
        return "x", "y"

    def layers(self, identity: str, wants: Iterable[str] = ()) -> tuple[Layer, ...]:
        return (self.shared, *(self.places[name] for name in dict.fromkeys(wants)))

    def find(self, identity: str, key: str) -> tuple[str, ...]:
        return (key,) if key in self.places else ()

    def settle(self) -> None:
        self.settled = True


def layer(*resources: Encoded) -> Layer:
    return Layer({each.name: each for each in resources})


def test_who_has_the_layers_it_had_is_left_as_it_is() -> None:
    store = Store()
    shared = layer(encoded("route/a", 1))
    first = Projected(shared, {})
    assert store.show(first) == ["x", "y"]
    assert first.settled
    before = store.pictures["x"]
    assert store.show(Projected(shared, {})) == []
    assert store.pictures["x"] is before
    assert store.show(Projected(layer(encoded("route/a", 2)), {})) == ["x", "y"]


def test_what_is_wanted_joins_the_picture_of_who_wants_it() -> None:
    store = Store()
    woken: list[str] = []
    store.show(Projected(layer(encoded("route/a", 1)), {"here": layer(encoded("service/far/here:80", 1))}))
    store.watch(lambda: woken.append("x"), "x")
    store.watch(lambda: woken.append("y"), "y")
    assert store.want("x", ["here", "nowhere"]) == ("nowhere",)
    assert set(store.pictures["x"].versions) == {"route/a", "service/far/here:80"}
    assert set(store.pictures["y"].versions) == {"route/a"}
    assert (woken, store.wants("x")) == (["x"], ("here",))
    assert store.want("x", ["here"]) == ()
    assert woken == ["x"], "nothing new"


def test_what_was_unknown_comes_when_it_comes_into_being_and_goes_with_it() -> None:
    store = Store()
    shared, late = layer(encoded("route/a", 1)), layer(encoded("service/far/late:80", 1))
    store.show(Projected(shared, {}))
    assert store.want("x", ["late"]) == ("late",)
    assert store.show(Projected(shared, {"late": late})) == ["x"]
    assert store.wants("x") == ("late",)
    assert store.show(Projected(shared, {})) == ["x"]
    assert store.want("x", ["late"]) == ("late",)
    assert store.show(Projected(shared, {"late": late})) == ["x"]


def test_wants_end_with_the_stream() -> None:
    store = Store()
    store.show(Projected(layer(), {"here": layer(encoded("service/far/here:80", 1))}))
    store.want("x", ["here", "nowhere"])
    store.forget("x")
    assert (store.pictures["x"].versions, store.wants("x")) == ({}, ())


def test_who_comes_back_wants_again_what_it_has() -> None:
    store = Store()
    far = {"service/far/here:80": layer(encoded("service/far/here:80", 1))}
    store.show(Projected(layer(encoded("service/shop/web:80", 1)), far))
    store.restore("x", ["service/far/here:80", "service/shop/web:80", "service/inbound-80", "route/far/here"])
    assert store.wants("x") == ("service/far/here:80",)
    assert "service/far/here:80" in store.pictures["x"].versions


def test_strangers_crowd_out_nothing_that_is_there() -> None:
    store = Store()
    store.show(Projected(layer(), {"here": layer(encoded("service/far/here:80", 1))}))
    store.want("x", ["here"])
    assert len(store.want("x", [f"192.0.2.{n}:{n}" for n in range(MOST_HOPES * 2)])) == MOST_HOPES * 2
    assert store.wants("x") == ("here",)
    assert store.want("x", ["a" * 5000]) == ("a" * 5000,)
    store.show(Projected(layer(), {f"192.0.2.{n}:{n}": layer() for n in range(MOST_HOPES * 2)}))
    assert len(store.wants("x")) == 1 + MOST_HOPES, "the newest of them were remembered"


def test_what_no_pod_has_any_more_is_forgotten() -> None:
    store = Store()
    store.show(Projected(layer(), {"here": layer(encoded("service/far/here:80", 1))}))
    store.want("x", ["here"])
    store.publish({})
    assert store.wants("x") == ()
    store.want("y", ["here"])
    store.watch(lambda: None, "y")
    store.publish({"y": {}})
    store.publish({})
    store.show(Projected(layer(), {"here": layer(encoded("service/far/here:80", 1))}))
    assert "service/far/here:80" in store.pictures["y"].versions, "its stream had lived all the time"


def test_an_object_is_needed_by_whoever_has_something_of_it() -> None:
    store = Store()
    route, backend = encoded("route/a", 1, None, ROUTE), encoded("backend/b", 2, None, ROUTE)
    store.show(Projected(layer(route, encoded("route/other", 3)), {"b": layer(backend)}))
    store.want("y", ["b"])
    mine = {"route/a": route.version}
    assert store.needing(ROUTE) == {"x": mine, "y": {**mine, "backend/b": backend.version}}
    store.publish({"x": {}})
    assert store.needing(ROUTE) == {}
