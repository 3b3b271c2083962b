"""A client of the discovery stream, whose server follows a script."""

import asyncio

import uvloop

from sidewinder_sidecar.discovery.dial import Unix
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.discovery.wants import Wants
from sidewinder_sidecar.snapshot.upstreams import EndpointsSpec
from sidewinder_sidecar.wheel import Wheel
from tests.support.discovery import Server


def endpoints(*names):
    return {f"endpoints/{name}": EndpointsSpec(name=name) for name in names}


class Sidecar:
    """What main would be: takes configurations, or refuses them."""

    def __init__(self):
        self.applied, self.kept = [], []
        self.refuse = None

    async def apply(self, resources):
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse
        self.applied.append(sorted(resources))

    def keep(self, held, epoch):
        self.kept.append((held.state, epoch))


def converse(tmp_path, *scripts, held=None, epoch=0, ping_seconds=5.0, until=None, seconds=10.0, **options):
    """Run the scripts against a client until the last has ended, or `until(sidecar, discovery)` holds."""
    path = str(tmp_path / "discovery.sock")
    sidecar = Sidecar()

    async def run():
        server = Server(*scripts)
        ended = asyncio.Event()
        last = server.scripts[-1]

        async def watched(line):
            try:
                await last(line)
            finally:
                ended.set()

        server.scripts[-1] = watched
        discovery = Discovery(
            Unix(path), sidecar.apply, held=held, epoch=epoch, build="1", kept=sidecar.keep, ping_seconds=ping_seconds,
            **options,
        )  # fmt: skip
        await server.open(path)
        running = asyncio.create_task(discovery.run())

        async def over():
            if until is None:
                await ended.wait()
            else:
                while not until(sidecar, discovery):  # noqa: ASYNC110 (no event tells this)
                    await asyncio.sleep(0.005)

        try:
            await asyncio.wait_for(over(), seconds)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()
        assert len(asyncio.all_tasks()) == 1
        return sidecar, discovery

    return uvloop.run(run())


async def started(line):
    await line.begin()
    await line.hear()


def wanting(known):
    """Wants on the loop's own wheel; `known` is what the configuration holds."""
    return Wants(Wheel.of(asyncio.get_running_loop()), lambda key: key in known)


def run_with(tmp_path, script, work, **more):
    """A client with one script at the other end, while `work(discovery, line)` runs."""

    async def run():
        path = str(tmp_path / "d.sock")
        server = Server(script)
        await server.open(path)
        made = {
            name: value() if callable(value) and name in ("wants", "doubts", "checks") else value
            for name, value in more.items()
        }
        discovery = Discovery(Unix(path), Sidecar().apply, **made)
        running = asyncio.create_task(discovery.run())
        while not discovery.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        try:
            return await asyncio.wait_for(work(discovery), 5)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()

    return uvloop.run(run())
