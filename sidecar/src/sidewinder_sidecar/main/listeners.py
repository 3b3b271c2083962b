"""The sockets follow the plan: opened before it is swapped in, drained when it names them no more. For `configure`.

A port that cannot be bound refuses the configuration; nothing that was open has been touched by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sidewinder_sidecar.discovery.transaction import Refusal
from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.snapshot.listeners import ListenerSpec

Where = tuple[str, int]


class Listeners:
    """Open listeners by name, and those that drain."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.open: dict[str, tuple[Where, Listener]] = {}  # as asked for: port 0 stays 0
        self.leaving: list[Listener] = []

    async def prepare(self, specs: Iterable[ListenerSpec]) -> dict[str, tuple[Where, Listener]]:
        """What `follow` would keep and open. Raises Refusal; then nothing new stays open."""
        wanted = {spec.name: (spec.address, spec.port) for spec in specs}
        spare = {where: one for name, (where, one) in self.open.items() if wanted.get(name) != where and where[1]}
        opened: list[Listener] = []
        following: dict[str, tuple[Where, Listener]] = {}
        try:
            for name, where in wanted.items():
                known = self.open.get(name)
                if known is not None and known[0] == where:
                    following[name] = known
                elif (heir := spare.pop(where, None)) is not None:
                    following[name] = (where, heir)  # the same socket under another name
                else:
                    one = Listener(self._proxy, name, *where)
                    await one.open()
                    opened.append(one)
                    following[name] = (where, one)
        except OSError as fault:
            for one in opened:
                one.close()
            raise Refusal(f"listener/{name}", "port", fault.strerror or str(fault)) from None
        return following

    def follow(self, following: Mapping[str, tuple[Where, Listener]]) -> None:
        """Be what `prepare` has found. Does not wait and does not fail."""
        stays = {id(one) for _, one in following.values()}
        self.leaving = [one for one in self.leaving if one.connections]
        for _, one in self.open.values():
            if id(one) not in stays:
                one.drain()
                self.leaving.append(one)
        for name, (_, one) in following.items():
            one.name = name
        self.open = dict(following)

    def all(self) -> list[Listener]:
        """Everything that has connections."""
        return [*(one for _, one in self.open.values()), *self.leaving]

    @property
    def connections(self) -> int:
        """Of callers, over all listeners."""
        return sum(len(one.connections) for one in self.all())

    @property
    def turned_away(self) -> int:
        """Connections over the limit."""
        return sum(one.turned_away for one in self.all())

    def inbound(self) -> list[str]:
        """The names of those by which others call the application."""
        planned = self._proxy.plan.listeners
        return [name for name in self.open if (one := planned.get(name)) is not None and one.inbound]

    def refuse(self) -> None:
        """Accept nothing more for the application, which may go on calling others."""
        for name in self.inbound():
            self.open[name][1].drain()

    def drain(self) -> None:
        """Accept no more; each connection ends after what it is doing."""
        for one in self.all():
            one.drain()

    def close(self) -> None:
        """End everything at once."""
        for one in self.all():
            one.close()
