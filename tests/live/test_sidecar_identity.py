"""The whole process against an operator over TLS: enrolled, followed, restarted, renewed; and whom not to believe.

The operator is the test's (`tests/support/authority`); `tests/cluster` does the same with the real one.
"""

import datetime as dt
import json
import os
import re
import socket

import pytest

from tests.support.authority import POD, SPIFFE_ID, TOKEN, Place, authority, issued, now, trust
from tests.support.sidecar import backend, sidecar, snapshot

pytestmark = pytest.mark.live


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def app():
    with backend() as one:
        yield one


def shown(proxy):
    return proxy.ask(proxy.port("admin"), "/identity").json()


def metric(proxy, name):
    found = re.search(rf"^sidewinder_{re.escape(name)} (\S+)$", proxy.metrics(), re.MULTILINE)
    return float(found[1]) if found else None


def test_it_enrols_and_follows_and_a_restart_needs_nobody(place, tmp_path, app):
    with authority() as up:
        place.mount(up.trust)
        settings = place.environment(up.url) | {"KEEP": str(tmp_path / "kept")}
        with sidecar(tmp_path, **settings) as proxy:
            up.publish(snapshot(app.port))
            assert proxy.ask(proxy.ready(), "/1").status == 200
            page = shown(proxy)
            assert page["certificate"]["spiffe_id"] == SPIFFE_ID
            assert page["certificate"]["pod_uid"] == POD.name
            assert page["certificate"]["serial"] == up.shown[0]
            assert page["usable"]
            assert (page["enrolments"], page["failures"], page["fault"]) == (1, 0, "")
            assert len(page["roots"]) == 1
            assert "PRIVATE" not in json.dumps(page)
            life = metric(proxy, "identity_expires_timestamp_seconds") - now().timestamp()
            assert 86_000 < life < 86_401
            assert metric(proxy, 'identity_enrolments_total{result="done"}') == 1
            assert metric(proxy, "discovery_connected") == 1
            assert TOKEN not in proxy.errors.read_text()
            proxy.terminate()
            assert proxy.exit() == 0
        assert {os.stat(place.identity / name).st_mode & 0o777 for name in os.listdir(place.identity)} == {0o600}
        port = up.port
    # the operator is away: configuration and certificate are those of before, and the first connection shows the latter
    place.token.unlink()
    with sidecar(tmp_path, **settings) as proxy:
        assert proxy.ask(proxy.ready(), "/2").status == 200
        assert shown(proxy)["certificate"]["serial"] == page["certificate"]["serial"]
        proxy.wait(lambda: "Connection refused" in proxy.errors.read_text())
        with authority(port, by=up.trust) as back:
            proxy.wait(lambda: back.hellos)
            assert back.shown == [page["certificate"]["serial"]]
            assert back.asked == []  # nothing was enrolled
            assert shown(proxy)["enrolments"] == 0


def test_it_is_renewed_and_the_stream_goes_on_with_the_new_one(place, tmp_path, app):
    with authority() as up:
        up.life = dt.timedelta(seconds=14)  # half of it is more than the 5 s that lie between two at least
        place.mount(up.trust)
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            up.publish(snapshot(app.port))
            port = proxy.ready()
            proxy.wait(lambda: len(up.shown) == 2, 30)
            assert len(set(up.shown)) == 2
            proxy.wait(lambda: len(up.hellos) == 2)
            assert up.hellos[1].has == {name: version for name, version in up.hellos[1].has.items() if version}
            assert up.hellos[1].state
            assert shown(proxy)["enrolments"] == 2
            assert proxy.ask(port, "/").status == 200
            assert metric(proxy, "config_applied_total") == 1  # nothing was sent again
            assert "closed" not in proxy.errors.read_text()  # the old stream was left for the new one


def test_roots_rotate_under_it(place, tmp_path, app):
    with authority() as up:
        old, new = up.trust, trust()
        place.mount(old)
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            up.publish(snapshot(app.port))
            proxy.ready()
            up.rotate(old._replace(next=new.signing))
            place.mount(old, new)
            up.rotate(new._replace(old=(old.signing.certificate,)))
            place.mount(new, old)
            # what it holds is trusted still, so that it takes its time: a new connection is enough of a reason to look
            for line in list(up.server.lines):
                up.loop.call_soon_threadsafe(line.writer.close)
            proxy.wait(lambda: len(up.shown) == 2)
            proxy.wait(lambda: "another root signs now" in proxy.errors.read_text())
            assert len(shown(proxy)["roots"]) == 2


def test_a_server_of_another_mesh_gets_neither_token_nor_stream(place, tmp_path):
    with authority() as up:
        place.mount(trust())
        place.keep(up.trust)
        place.mount(trust())
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            proxy.wait(lambda: "certificate is not accepted" in proxy.errors.read_text())
            proxy.wait(lambda: metric(proxy, 'identity_enrolments_total{result="failed"}'))
            assert up.asked == []
            assert up.shown == []
            assert proxy.ask(proxy.port("probe"), "/livez").status == 200


def test_a_server_of_another_name_gets_neither_token_nor_stream(place, tmp_path):
    with authority(names=("elsewhere.example",)) as up:
        place.mount(up.trust)
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            proxy.wait(
                lambda: "elsewhere" in proxy.errors.read_text() or "Hostname mismatch" in proxy.errors.read_text()
            )
            assert (up.asked, up.shown) == ([], [])


@pytest.mark.parametrize("damage", ["half", "mismatch", "expired"])
def test_what_was_kept_and_cannot_be_used_is_told_and_replaced(place, tmp_path, app, damage):
    with authority() as up:
        place.mount(up.trust)
        place.keep(up.trust, begins=now() - dt.timedelta(days=3 if damage == "expired" else 0))
        certificate, key = place.identity / "certificate.pem", place.identity / "key.pem"
        if damage == "half":
            certificate.write_text(certificate.read_text()[:300])
        elif damage == "mismatch":
            key.write_text(issued(up.trust)[0])
        up.publish(snapshot(app.port))
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            assert proxy.ask(proxy.ready(), "/").status == 200
            assert len(up.asked) == 1
            assert '"level":"warning"' in proxy.errors.read_text()
            assert shown(proxy)["usable"]


def test_a_missing_token_is_told_and_found_later(place, tmp_path, app):
    place.token.unlink()
    with authority() as up:
        place.mount(up.trust)
        up.publish(snapshot(app.port))
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            proxy.wait(lambda: f"{place.token}: No such file" in proxy.errors.read_text())
            page = shown(proxy)
            assert page["certificate"] is None
            assert "No such file" in page["fault"]
            assert metric(proxy, "identity_expires_timestamp_seconds") == 0
            place.token.write_text(TOKEN)
            assert proxy.ask(proxy.ready(), "/").status == 200


def test_refusals_are_honoured(place, tmp_path, app):
    with authority() as up:
        place.mount(up.trust)
        answers = [(429, {"Retry-After": "1"}, {"error": "too many at this moment"}), (503, {}, {"error": "starting"})]
        times = []

        def answer(body):
            times.append(now())
            return answers.pop(0) if answers else up.signed(body)

        up.answer = answer
        up.publish(snapshot(app.port))
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            assert proxy.ask(proxy.ready(), "/").status == 200
            assert "refused with 429: too many at this moment" in proxy.errors.read_text()
            assert (times[1] - times[0]).total_seconds() >= 1
            assert shown(proxy)["failures"] == 2


def test_an_operator_that_hangs_keeps_nobody_from_serving(place, tmp_path, app):
    """It accepts connections and says nothing, to the enrolment and to the stream."""
    place.mount(trust())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = place.environment(f"https://localhost:{silent.getsockname()[1]}") | {"KEEP": str(tmp_path / "kept")}
        with authority() as up, sidecar(tmp_path, **(settings | place.environment(up.url))) as proxy:
            place.mount(up.trust)
            up.publish(snapshot(app.port))
            proxy.ready()
            proxy.terminate()
            assert proxy.exit() == 0
        with sidecar(tmp_path, **settings) as proxy:
            assert proxy.ask(proxy.ready(), "/").status == 200
            proxy.wait(lambda: "handshake" in proxy.errors.read_text())
            proxy.terminate()
            assert proxy.exit() == 0


def test_it_leaves_at_once_while_an_enrolment_hangs(place, tmp_path):
    with authority() as up:
        up.hang = True
        place.mount(up.trust)
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            proxy.wait(lambda: up.asked)
            child = _child_of(proxy.process.pid)
            assert child
            proxy.terminate()
            assert proxy.exit(5) == 0
            assert not os.path.exists(f"/proc/{child}")


def _child_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().strip()


def test_the_proxy_never_loads_what_the_child_needs(place, tmp_path, app):
    with authority() as up:
        place.mount(up.trust)
        up.publish(snapshot(app.port))
        with sidecar(tmp_path, **place.environment(up.url)) as proxy:
            proxy.ready()
            with open(f"/proc/{proxy.process.pid}/maps") as file:
                maps = file.read()
            assert "cryptography" not in maps
