"""The newest picture per workload: shared lines, and who is woken."""

from __future__ import annotations

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.store import Store
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


def test_a_picture_says_what_it_is() -> None:
    store = Store()
    store.publish({"x": {}})
    assert repr(store.pictures["x"]) == f"<Picture {snapshot.state({})}: 0 resources>"
