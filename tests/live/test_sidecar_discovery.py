"""The whole process with a discovery server: follows, refuses, remembers."""

import pytest

from sidewinder_sidecar.snapshot import stream
from tests.support.operator import operator
from tests.support.sidecar import backend, sidecar, snapshot

pytestmark = pytest.mark.live


def test_it_follows_refuses_and_remembers(tmp_path):
    path = str(tmp_path / "d.sock")
    settings = {"DISCOVERY": f"unix:{path}", "KEEP": str(tmp_path / "kept")}
    with backend() as old, backend() as new:
        with operator(path) as up, sidecar(tmp_path, **settings) as proxy:
            assert proxy.ask(proxy.port("probe"), "/readyz").status == 503
            up.publish(snapshot(old.port))
            port = proxy.ready()
            assert proxy.ask(port, "/1").status == 200
            assert isinstance(up.answers[0], stream.Ack)
            up.publish(snapshot(new.port))
            proxy.wait(lambda: len(up.answers) == 2)
            assert proxy.ask(port, "/2").status == 200
            assert (len(old.asked), len(new.asked)) == (1, 1)
            # refused: a route that leads nowhere
            broken = snapshot(new.port) | {"route/shop/reviews": {"name": "shop/reviews", "rules": [
                {"name": "r", "backends": [{"backend": "nobody"}]}]}}  # fmt: skip
            up.publish(broken)
            proxy.wait(lambda: len(up.answers) == 3)
            nack = up.answers[2]
            assert (nack.resource, nack.state) == ("route/shop/reviews", up.answers[1].state)
            assert "nobody" in nack.why
            assert proxy.ask(port, "/3").status == 200
            metrics = proxy.metrics()
            assert "sidewinder_config_applied_total 2\n" in metrics
            assert "sidewinder_config_refused_total 1\n" in metrics
            assert "sidewinder_discovery_connected 1\n" in metrics
            proxy.terminate()
            assert proxy.exit() == 0
        # nobody is there any more: the last good configuration serves
        with sidecar(tmp_path, **settings) as proxy:
            port = proxy.ready()
            assert proxy.ask(port, "/4").status == 200
            assert proxy.ask(proxy.port("admin"), "/config").json()["source"] == "kept"
            # and when somebody comes back, it says what it has
            with operator(path) as up:
                proxy.wait(lambda: up.hellos)
                assert up.hellos[0].state == nack.state
                assert up.hellos[0].epoch >= 2
            proxy.terminate()
            assert proxy.exit() == 0


def test_listeners_follow(tmp_path):
    path = str(tmp_path / "d.sock")
    with backend() as app, operator(path) as up, sidecar(tmp_path, DISCOVERY=f"unix:{path}") as proxy:
        first = snapshot(app.port)
        up.publish(first)
        port = proxy.ready()
        moved = dict(first)
        moved["listener/other"] = dict(moved.pop("listener/in"), name="other")
        up.publish(moved)
        proxy.wait(lambda: len(up.answers) == 2)
        probe = proxy.port("probe")
        listeners = proxy.ask(probe, "/readyz").json()["listeners"]
        assert list(listeners) == ["other"]
        assert proxy.ask(listeners["other"], "/").status == 200
        with pytest.raises(ConnectionError):
            proxy.ask(port, "/")
        # the same socket under another name: no connection is refused in between
        fixed = dict(moved["listener/other"], port=listeners["other"])
        taken = moved | {"listener/other": fixed}
        up.publish(taken)
        proxy.wait(lambda: len(up.answers) == 3)


def test_a_kept_configuration_that_is_damaged(tmp_path):
    kept = tmp_path / "kept"
    kept.write_bytes(b"\x00" * 100)
    path = str(tmp_path / "d.sock")
    with backend() as app, operator(path) as up:
        with sidecar(tmp_path, DISCOVERY=f"unix:{path}", KEEP=str(kept)) as proxy:
            up.publish(snapshot(app.port))
            assert proxy.ask(proxy.ready(), "/").status == 200
            assert "set aside" in proxy.errors.read_text()
            assert (tmp_path / "kept.refused").exists()
            proxy.terminate()
            assert proxy.exit() == 0
        assert kept.stat().st_mode & 0o777 == 0o600
