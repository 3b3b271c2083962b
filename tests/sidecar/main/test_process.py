import asyncio
import gc
import signal
import socket
import subprocess
import sys

import msgspec
import pytest
import uvloop

from sidewinder_sidecar.discovery import keep
from sidewinder_sidecar.discovery.transaction import Held
from sidewinder_sidecar.identity.renewal import Identity
from sidewinder_sidecar.main import configure, process
from sidewinder_sidecar.main.process import Process, Unable
from sidewinder_sidecar.settings import Limits, Settings
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from tests.support.authority import SPIFFE_ID, trust
from tests.support.identities import forged, identity, named, write


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    gc.unfreeze()


def settings(**more):
    return Settings(
        **({"access_log": "off", "probe_address": "127.0.0.1", "probe_port": 0, "admin_port": 0} | more),
    )


def test_from_settings_to_the_last_word():
    async def run():
        one = Process(settings())
        running = asyncio.create_task(one.run())
        while not one.admin.address[1]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert one.probe.address[1] != one.admin.address[1]
        one._on_signal(signal.SIGTERM)
        await asyncio.wait_for(running, 5)
        one.last_words()
        return one

    one = uvloop.run(run())
    assert one.proxy.draining
    assert not one.hurry.is_set()


def test_the_second_signal_hurries():
    async def run():
        one = Process(settings(limits=Limits(drain_seconds=60.0)))
        one.proxy.running.add(Stuck())
        running = asyncio.create_task(one.run())
        while not one.admin.address[1]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        one._on_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        assert not running.done()
        one._on_signal(signal.SIGTERM)
        await asyncio.wait_for(running, 5)
        one.last_words()
        assert one.drain.cut == 1

    uvloop.run(run())


class Stuck:
    """An exchange that never ends."""

    def abort(self, error, detail):
        pass


def test_an_access_log_that_cannot_be_opened():
    async def run():
        Process(settings(access_log="/nowhere/log"))

    with pytest.raises(Unable, match="SIDEWINDER_ACCESS_LOG='/nowhere/log': No such file"):
        uvloop.run(run())


def test_an_access_log_in_a_file(tmp_path):
    async def run():
        one = Process(settings(access_log=str(tmp_path / "log")))
        return one.recorder.access_log.writer.descriptor

    assert uvloop.run(run()) > 2
    assert (tmp_path / "log").exists()


def test_a_port_that_is_taken():
    async def run(port):
        await Process(settings(probe_port=port)).run()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unable, match=f"SIDEWINDER_PROBE_PORT={port}"):
            uvloop.run(run(port))


def test_who_the_spans_are_from():
    async def run():
        one = Process(settings(otlp_endpoint="http://127.0.0.1:9"))
        return one._target()

    target = uvloop.run(run())
    assert target.endpoint == "http://127.0.0.1:9"
    assert target.resource["service.name"] == "sidewinder"


def test_unable_is_said(capsys):
    assert process.unable(Unable("why")) == 1
    assert capsys.readouterr().err == "sidewinder-sidecar: why\n"


def test_the_way_to_the_operator_of_a_cluster(tmp_path):
    """The kept configuration serves before anybody is asked who we are, and what is known of that is shown."""
    kept = str(tmp_path / "kept")
    held = load_kept(tmp_path)
    keep.write(kept, held, 3)
    paths = {name: str(tmp_path / name) for name in ("identity", "token", "bundle")}

    async def run():
        one = Process(settings(discovery="https://operator.invalid:15012", keep=kept, pod_name="reviews-1", **paths))
        running = asyncio.create_task(one.run())
        while not one.admin.address[1]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert (one.source, one.configuration.state) == ("kept", held.state)
        assert isinstance(one.identity, Identity)
        assert str(one.discovery.dial) == "https://operator.invalid:15012"
        assert ("GET", "/identity") in one.admin.pages
        assert {"identity", "discovery", "keep"} <= set(one.supervisor.deaths)
        assert one._target().resource["service.instance.id"] == "reviews-1"
        one._on_signal(signal.SIGTERM)
        await asyncio.wait_for(running, 10)
        one.last_words()

    uvloop.run(run())


def load_kept(folder):
    """A configuration of one proxy without listeners."""
    (folder / "snapshot.json").write_text('{"proxy/self": {"name": "reviews-v1", "namespace": "shop"}}')
    return configure.load(str(folder / "snapshot.json"))


def test_an_identity_that_somebody_writes_is_shown_and_its_own_pod_is_called_past_it(tmp_path):
    by = trust()
    folder = identity(tmp_path / "id", by, named("reviews"))

    async def run():
        one = Process(settings(identity=str(folder), pod_uid="u-1"))
        one._watch_identity()
        assert one.keyring.credentials.spiffe_id == SPIFFE_ID
        assert one.proxy.keyring is one.keyring
        identity(folder, by, named("reviews"))
        one.tick()
        assert one.keyring.epoch == 2
        for name in ("key", "certificate", "bundle"):
            (folder / f"{name}.pem").write_text("")
        one.tick()
        assert one.keyring.epoch == 2  # what was in use stays
        own, other = (
            one.proxy.fleet.make(EndpointSpec(uid=uid, address="10.1.0.5", port=9080, identity=SPIFFE_ID), 1.0)
            for uid in ("u-1", "u-2")
        )
        assert (own.identity, own.secure) == ("", False)
        assert (other.identity, other.secure, other.keyring) == (SPIFFE_ID, True, one.keyring)

    uvloop.run(run())


def test_without_a_folder_or_with_a_token_nobody_watches():
    async def run():
        for more in ({}, {"identity": "/nowhere", "token": "/nowhere/token"}):
            one = Process(settings(**more))
            one._watch_identity()
            assert (one.identity, one.look) == (None, None)

    uvloop.run(run())


def test_an_identity_that_cannot_be_shown_is_told(tmp_path, caplog):
    by = trust()
    folder = write(tmp_path / "id", *forged(by, (SPIFFE_ID,), crl_sign=True), by)

    async def run():
        one = Process(settings(identity=str(folder)))
        one._watch_identity()
        assert one.keyring.credentials is None

    uvloop.run(run())
    assert "cannot be shown to other proxies" in caplog.text
    assert "PRIVATE" not in caplog.text


def test_what_an_operator_gives_it_to_check_is_checked():
    here = EndpointSpec(uid="u", address="127.0.0.1", port=1)
    checks = ChecksSpec(checks=(CheckSpec(name="web", interval=3600.0, endpoints=(here,)),))

    async def run():
        one = Process(settings())
        one._on_applied(Held({"checks/self": checks}), 1, "discovery")
        assert list(one.checks.checks) == ["web u 127.0.0.1 1"]
        one._on_applied(Held({}), 2, "discovery")
        assert one.checks.checks == {}

    uvloop.run(run())


def test_what_a_fixed_configuration_gives_it_to_check_is_checked(tmp_path):
    here = EndpointSpec(uid="u", address="127.0.0.1", port=1)
    checks = ChecksSpec(checks=(CheckSpec(name="web", interval=3600.0, endpoints=(here,)),))
    bodies = {"proxy/self": ProxySpec(name="p", namespace="n"), "checks/self": checks}
    file = tmp_path / "snapshot.json"
    file.write_bytes(msgspec.json.encode(bodies))

    async def run():
        one = Process(settings(snapshot=str(file)))
        await one._configure_by_file()
        assert list(one.checks.checks) == ["web u 127.0.0.1 1"]
        assert not one.drain.followed, "no operator says what becomes of this pod"
        one.checks.close()

    uvloop.run(run())


def test_what_only_a_policy_or_a_rule_needs_is_not_loaded_without_it():
    rare = [
        "mirror",
        "fault",
        "chance",
        "size_limits",
        "adaptive_concurrency",
        "cors",
        "redirect",
        "rewrite",
        "direct_response",
    ]
    names = [*(f"sidewinder_sidecar.filters.{name}" for name in rare), "sidewinder_sidecar.resilience.circuit"]
    program = (
        "import sys, types\n"
        "from sidewinder_sidecar.main import mirrors, process\n"
        "means = types.SimpleNamespace(memory={})\n"
        "fleet = types.SimpleNamespace(means=means)\n"
        "mirrors._every(types.SimpleNamespace(proxy=types.SimpleNamespace(fleet=fleet)))\n"
        f"print(*sorted({{*{names!r}, 'pybreaker', 'jwt', 'cryptography', 'aiohttp'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=30, check=True, capture_output=True, text=True)
    assert not done.stdout.strip()
