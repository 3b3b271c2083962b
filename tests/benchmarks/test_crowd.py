"""The crowd: who is called, who of them is dead, and what is said of the figures."""

import importlib.util
import sys
from pathlib import Path

import pytest

from sidewinder_sidecar import snapshot

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def crowd():
    """The script, loaded with its siblings as when it is run."""
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("crowd", FOLDER / "crowd.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.subjects._PORTS.append(module.subjects.Ports(7001, 7002))
        yield module
        module.subjects._PORTS.pop()
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("count", [3, 1000])
def test_so_many_endpoints_have_everything_of_resilience(crowd, count):
    made = crowd.mesh(count, 8080, 7003)
    for name, body in made.items():
        assert snapshot.decode(name, snapshot.encode(body)) == body
    found = made["endpoints/bench/v1:80"].endpoints
    assert len({one.address for one in found}) == len(found) == count
    assert {one.port for one in found} == {7003}
    called = made["backend/bench/v1:80"]
    assert called.breaker is not None
    assert called.concurrency.whole.connections > 1000
    assert "checks/self" not in made


def test_a_hundred_of_the_thousand_are_dead_and_none_of_the_three(crowd, tmp_path, monkeypatch):
    monkeypatch.setattr(crowd.subjects, "spawn", lambda *_: None)
    monkeypatch.setattr(crowd.subjects, "ready", lambda *_: None)
    _, port = crowd.backend(tmp_path)
    text = (tmp_path / "crowd.conf").read_text()
    served = {line.partition("listen ")[2] for line in text.split(";") if "listen " in line}
    dead = {one for one in crowd.addresses(1000) if f"{one}:{port}" not in served}
    assert len(dead) == 100
    assert not dead & set(crowd.addresses(3))
    assert "@" not in text


@pytest.mark.parametrize(("many", "code", "word"), [(36.0, 0, "as asked for"), (40.0, 1, "NOT as asked for")])
def test_what_counts_is_the_share_of_envoys(crowd, capsys, many, code, word):
    def rounds(cpu):
        return [crowd.Round(1000, cpu, 30.0, 1.0, 2.0)] * 3

    results = {("sidewinder", 3): rounds(35.0), ("envoy", 3): rounds(70.0), ("sidewinder", 1000): rounds(many)}
    assert crowd.tell({**results, ("envoy", 1000): rounds(70.0)}) == code
    said = capsys.readouterr().out
    assert word in said
    assert f"sidewinder: {many / 35 - 1:+.1%}" in said
