"""Who may call what: the section `authorization` of all levels, on one port. Made by plan/guards, asked per request.

`apply` is the filter, `admit` judges connections that are relayed, `judge` tells what would be decided. A Deny of any
section refuses; else an Allow of any lets pass; else the default holds. What callers are refused with is the same
whatever refused them: which rule it was stands in the access log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.filters.authorize.addresses import Ranges, read
from sidewinder_sidecar.filters.authorize.engine import Engine
from sidewinder_sidecar.filters.authorize.verdict import Verdict
from sidewinder_sidecar.snapshot.authorization import AuthorizationSpec

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.context import Context
    from sidewinder_sidecar.messages import Call, Peer, Reply

KIND: Final = "authorization"
KEPT: Final = "authorize.lists"  # what has been read of ConfigMaps, by name
OTHER_PORT: Final = 0  # stands for every port that no rule names


def build(specs: tuple[AuthorizationSpec, ...], context: Context, port: int) -> Authorizer:
    """What judges callers of `port`; 0: of any that nobody declared. Raises ValueError for what is no CIDR."""
    for _ in _read(context, set(_named(specs))):
        pass  # most often there is nothing left to read
    lists = _lists(context)
    named = {name: lists[name] for name in _named(specs)}  # no others: it may be taken over by many plans
    return Authorizer(specs, context.trust_domain, named, port, context.count)


def prepare(context: Context) -> Iterator[None]:
    """Read the lists of addresses in steps of a millisecond, and forget those that are gone.

    Says nothing of what is no CIDR: `build` does, for whom its place is known.
    """
    lists = _lists(context)
    for name in lists.keys() - context.addresses.keys():
        del lists[name]
    for name in context.addresses:
        try:
            yield from _read(context, {name})
        except ValueError:
            lists.pop(name, None)


def _read(context: Context, names: set[str]) -> Iterator[None]:
    """Those that are as they were are not read again."""
    lists = _lists(context)
    for name in names:
        spec, known = context.addresses[name], lists.get(name)
        if known is None or known.cidrs != spec.cidrs:
            lists[name] = yield from read(spec.cidrs)


def _lists(context: Context) -> dict[str, Ranges]:
    kept: dict[str, Ranges] = context.memory.setdefault(KEPT, {})
    return kept


class Authorizer:
    """One engine where the port is known, else one for each port that a rule names and one for all others."""

    __slots__ = ("_count", "_engine", "_engines", "_lists", "_port", "_ports", "_specs", "_trust_domain")

    def __init__(
        self,
        specs: tuple[AuthorizationSpec, ...],
        trust_domain: str,
        lists: dict[str, Ranges],
        port: int,
        count: Callable[[str, str, str], None],
    ) -> None:
        self._specs = specs
        self._trust_domain = trust_domain
        self._lists = lists
        self._port = port
        self._count = count
        self._ports = frozenset(_ports(specs))
        self._engine = self._made(port)
        self._engines: dict[int, Engine] = {port if port in self._ports else OTHER_PORT: self._engine}

    def apply(self, call: Call) -> Reply | None:
        """The filter."""
        verdict = self.judge(call)
        if verdict.decision:
            if verdict.reply is not None or not call.decision.startswith("audit:"):  # what Strict mTLS would do is told
                call.decision = verdict.decision
            self._count(KIND, verdict.action, verdict.policy)
        return verdict.reply

    def admit(self, peer: Peer, port: int) -> Reply | None:
        """Why a connection to `port` is not relayed; None: it is, and `peer.decision` says who let it."""
        verdict = self.judge_connection(peer, port)
        if verdict.decision:
            peer.decision = verdict.decision
            self._count(KIND, verdict.action, verdict.policy)
        return verdict.reply

    def judge(self, call: Call) -> Verdict:
        """What is decided about a request, and by which rule."""
        if self._port:
            return self._engine.judge(call)
        reached = call.peer.destination
        return self._on(0 if reached is None else reached[1]).judge(call)

    def judge_connection(self, peer: Peer, port: int) -> Verdict:
        """The same for a connection that is relayed."""
        return self._on(port).judge_connection(peer)

    def _on(self, port: int) -> Engine:
        key = port if port in self._ports else OTHER_PORT
        if (engine := self._engines.get(key)) is None:
            engine = self._engines[key] = self._made(key)
        return engine

    def _made(self, port: int) -> Engine:
        return Engine(self._specs, port, self._trust_domain, self._lists)

    def __repr__(self) -> str:
        return f"<Authorizer of {', '.join(section.policy for section in self._specs)} :{self._port} {self._engine!r}>"


def _named(specs: tuple[AuthorizationSpec, ...]) -> Iterator[str]:
    for section in specs:
        for rule in section.rules:
            for source in rule.sources:
                yield from source.cidr_lists
                yield from source.peer_cidr_lists
                yield from source.not_cidr_lists
                yield from source.not_peer_cidr_lists


def _ports(specs: tuple[AuthorizationSpec, ...]) -> Iterator[int]:
    for section in specs:
        for rule in section.rules:
            for target in rule.targets:
                yield from target.ports
                yield from target.not_ports
