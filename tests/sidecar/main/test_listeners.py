import asyncio
import socket

import pytest
import uvloop

from sidewinder_sidecar.discovery.transaction import Refusal
from sidewinder_sidecar.main.listeners import Listeners
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from tests.support.http1 import Proxy


def spec(name, port=0):
    return ListenerSpec(name=name, direction="Inbound", address="127.0.0.1", port=port)


async def followed(listeners, *specs):
    listeners.follow(await listeners.prepare(specs))
    return {name: one.port for name, (_, one) in listeners.open.items()}


def run(work):
    async def whole():
        listeners = Listeners(Proxy())
        try:
            return await work(listeners)
        finally:
            listeners.close()
            await asyncio.sleep(0)

    return uvloop.run(whole())


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def test_they_open_stay_and_go():
    async def work(listeners):
        first = await followed(listeners, spec("a"), spec("b"))
        second = await followed(listeners, spec("b"), spec("c"))
        assert second["b"] == first["b"]
        await asyncio.sleep(0.01)
        return [listens(port) for port in (first["a"], first["b"], second["c"])], len(listeners.leaving)

    assert run(work) == ([False, True, True], 1)


def test_a_port_that_is_taken_refuses_all_and_touches_nothing():
    async def work(listeners):
        before = await followed(listeners, spec("a"))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(Refusal) as found:
                await listeners.prepare([spec("b"), spec("c", port)])
        assert (found.value.resource, found.value.field) == ("listener/c", "port")
        assert str(port) in found.value.why
        assert {name: one.port for name, (_, one) in listeners.open.items()} == before
        assert listens(before["a"])

    run(work)


def test_a_socket_changes_its_name_without_closing():
    async def work(listeners):
        port = (await followed(listeners, spec("a")))["a"]
        listeners.close()
        listeners.open.clear()
        await asyncio.sleep(0.01)
        await followed(listeners, spec("a", port))
        one = listeners.open["a"][1]
        await followed(listeners, spec("b", port))
        assert listeners.open["b"][1] is one
        assert (one.name, one.closed) == ("b", False)
        assert listeners.leaving == []

    run(work)


def test_two_swap_their_sockets():
    async def work(listeners):
        ports = await followed(listeners, spec("x"), spec("y"))
        listeners.close()
        listeners.open.clear()
        await asyncio.sleep(0.01)
        await followed(listeners, spec("a", ports["x"]), spec("b", ports["y"]))
        await followed(listeners, spec("a", ports["y"]), spec("b", ports["x"]))
        assert {name: one.port for name, (_, one) in listeners.open.items()} == {"a": ports["y"], "b": ports["x"]}
        assert [one.name for _, one in listeners.open.values()] == ["a", "b"]

    run(work)


def test_counts():
    async def work(listeners):
        await followed(listeners, spec("a"))
        return listeners.connections, listeners.turned_away

    assert run(work) == (0, 0)
