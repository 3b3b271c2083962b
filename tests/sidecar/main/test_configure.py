import gc
import json
import subprocess
import sys
import time

import pytest
import uvloop

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.discovery.transaction import Refusal
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.main.configure import Configuration, load
from sidewinder_sidecar.main.listeners import Listeners
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.support.sidecar import snapshot as pictured


def bodies(picture):
    return {name: snapshot.decode(name, json.dumps(body).encode()) for name, body in picture.items()}


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.unfreeze()


def applied(*pictures):
    """Apply one after another; (the proxy, the listeners, the refusals)."""
    import asyncio

    async def run():
        wheel = Wheel.of(asyncio.get_running_loop())
        proxy = Proxy(Fleet(wheel, lambda spec, seconds: FakeEndpoint(spec)), wheel, lambda call: None, Limits())
        listeners = Listeners(proxy)
        configuration = Configuration(proxy, listeners)
        refusals = []
        plans = []
        for picture in pictures:
            try:
                await configuration.apply(bodies(picture))
            except Refusal as fault:
                refusals.append((fault.resource, fault.field))
            plans.append(proxy.plan)
        ports = {name: one.port for name, (_, one) in listeners.open.items()}
        listeners.close()
        await asyncio.sleep(0)
        return plans, ports, refusals, configuration

    return uvloop.run(run())


class FakeEndpoint(Endpoint):
    def __init__(self, spec):
        super().__init__(spec, Limits(), Wheel(time.monotonic, lambda seconds, call: None), 5.0)

    def update(self, spec):
        super().update(spec)

    def retire(self):
        pass


def test_a_configuration_is_swapped_in_with_its_listeners():
    (plan,), ports, refusals, configuration = applied(pictured(9))
    assert (list(plan.listeners), list(ports), refusals) == (["in"], ["in"], [])
    assert configuration.applied == 1
    assert "route/shop/reviews" in configuration.resources


def test_it_is_settled_once_no_exchange_uses_what_was_replaced():
    import asyncio

    async def run():
        wheel = Wheel.of(asyncio.get_running_loop())
        proxy = Proxy(Fleet(wheel, lambda spec, seconds: FakeEndpoint(spec)), wheel, lambda call: None, Limits())
        configuration = Configuration(proxy, Listeners(proxy))
        told = []
        configuration.on_settled = lambda: told.append(configuration.is_settled())
        await configuration.apply(bodies(pictured(9)))
        assert configuration.is_settled()
        pinned = [proxy.plan]
        told.clear()
        await configuration.apply(bodies(pictured(10)))
        await configuration.apply(bodies(pictured(11)))
        assert (configuration.is_settled(), told) == (False, [])
        pinned.clear()
        assert (configuration.is_settled(), told) == (True, [True])
        configuration._listeners.close()
        await asyncio.sleep(0)

    uvloop.run(run())


def test_a_refused_one_leaves_everything():
    broken = pictured(9, backends=[{"backend": "nobody"}])
    plans, ports, refusals, configuration = applied(pictured(9), broken)
    assert plans[0] is plans[1]
    assert refusals[0][0] == "route/shop/reviews"
    assert list(ports) == ["in"]
    assert configuration.applied == 1


def test_a_port_that_is_taken_leaves_everything():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        plans, ports, refusals, _ = applied(pictured(9), pictured(9, taken.getsockname()[1]))
    assert plans[0] is plans[1]
    assert refusals == [("listener/in", "port")]
    assert list(ports) == ["in"]


def test_a_file(tmp_path):
    file = tmp_path / "s.json"
    file.write_text(json.dumps(pictured(9)))
    held = load(str(file))
    assert held.resources == bodies(pictured(9))
    assert held.state == snapshot.state(held.versions)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"a":1}', '{"proxy/self":{}}', "\0\1\2", '{"proxy/self":' + '{"a":' * 100_000],
    ids=["empty", "list", "cut", "kind", "field", "binary", "deep"],
)
def test_a_file_that_is_none(tmp_path, content):
    file = tmp_path / "s.json"
    file.write_text(content)
    with pytest.raises(Refusal):
        load(str(file))


def test_a_file_that_is_cut_short_anywhere(tmp_path):
    file = tmp_path / "s.json"
    whole = json.dumps(pictured(9)).encode()
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        with pytest.raises(Refusal):
            load(str(file))


def test_many_routes_are_built_without_the_collector_and_freed_in_slices(monkeypatch):
    import asyncio
    import weakref

    from sidewinder_sidecar.main import configure

    monkeypatch.setattr(configure, "MANY", 1)
    monkeypatch.setattr(configure, "IN_USE_SECONDS", 0.0)
    building = []
    prepare = configure.prepare

    async def watched(*arguments):
        building.append(gc.isenabled())
        return await prepare(*arguments)

    monkeypatch.setattr(configure, "prepare", watched)

    async def run():
        wheel = Wheel.of(asyncio.get_running_loop())
        proxy = Proxy(Fleet(wheel, lambda spec, seconds: FakeEndpoint(spec)), wheel, lambda call: None, Limits())
        listeners = Listeners(proxy)
        configuration = Configuration(proxy, listeners)
        await configuration.apply(bodies(pictured(9)))
        pinned = proxy.plan  # as an exchange does
        watch = weakref.ref(pinned)
        await configuration.apply(bodies(pictured(10)))
        (parting,) = configuration._parting
        for _ in range(10):
            await asyncio.sleep(0)
        assert not parting.done()  # it is still used
        del pinned
        await asyncio.wait_for(parting, 5)
        assert watch() is None
        assert configuration._parting == set()
        broken = bodies(pictured(9)) | bodies({"route/shop/reviews": {"name": "other", "rules": []}})
        with pytest.raises(Refusal):
            await configuration.apply(broken)
        listeners.close()
        await asyncio.sleep(0)

    uvloop.run(run())
    assert building == [False, False, False]
    assert gc.isenabled()


def test_what_verifies_tokens_is_loaded_beside_the_loop_and_only_where_there_are_keys():
    code = (
        "import asyncio, sys\n"
        "from sidewinder_sidecar.main.configure import ready_to_verify\n"
        "async def main():\n"
        "    await ready_to_verify({'policy/a': 1, 'service/keys/a': 1})\n"
        "    assert 'jwt' not in sys.modules\n"
        "    task = asyncio.create_task(ready_to_verify({'keys/a': 1}))\n"
        "    turns = 0\n"
        "    while not task.done():\n"
        "        turns += 1\n"
        "        await asyncio.sleep(0.001)\n"
        "    assert turns > 5, turns\n"
        "    assert {'jwt.algorithms', 'cryptography'} <= set(sys.modules)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
