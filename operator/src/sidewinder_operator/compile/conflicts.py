"""Routes on one Service that say exactly the same: the older one gets the requests, the loser is told.

Called by `compiler`. The order of routes is the Gateway API's (age, then namespace/name): a match is lost where an
older route, or an earlier rule of the same one, has the same match for the same hosts before the same callers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sidewinder_operator.compile.matches import Meaning, meaning
from sidewinder_operator.mesh.routes import MeshRoute
from sidewinder_operator.problems import Problem


class _Owner(NamedTuple):
    """Who has a match."""

    route: MeshRoute
    rule: int


class _Stake(NamedTuple):
    """A match of a route, once per host name."""

    rule: int
    match: int
    meanings: tuple[tuple[str, Meaning], ...]


class _Defeat(NamedTuple):
    """Where a match is lost, for which hosts ("" is any), and to whom."""

    port: str
    hosts: tuple[str, ...]
    winner: _Owner


def conflicts(routes: Mapping[str, MeshRoute], placed: Mapping[str, Mapping[str, Iterable[str]]]) -> Iterator[Problem]:
    """What is told to routes with matches that are never reached. `placed`: port → audience → routes, oldest first."""
    stakes = {name: _stakes(route) for name, route in routes.items()}
    held: dict[str, int] = defaultdict(int)
    lost: dict[str, dict[tuple[int, int], list[_Defeat]]] = defaultdict(lambda: defaultdict(list))
    for port in sorted(placed):
        for _, names in sorted(placed[port].items()):
            for name, stake, defeat in _contest(port, names, routes, stakes):
                if defeat is None or len(defeat.hosts) < len(stake.meanings):
                    held[name] += 1
                if defeat is not None:
                    lost[name][stake.rule, stake.match].append(defeat)
    for name, defeats in sorted(lost.items()):
        yield from _told(routes[name], defeats, all_lost=not held[name])


def _contest(
    port: str, names: Iterable[str], routes: Mapping[str, MeshRoute], stakes: Mapping[str, tuple[_Stake, ...]]
) -> Iterator[tuple[str, _Stake, _Defeat | None]]:
    owners: dict[tuple[str, Meaning], _Owner] = {}
    for name in names:
        route = routes[name]
        for stake in stakes[name]:
            beaten = [(each[0], owners[each]) for each in stake.meanings if each in owners]
            for each in stake.meanings:
                owners.setdefault(each, _Owner(route, stake.rule))
            hosts = tuple(host for host, _ in beaten)
            yield name, stake, _Defeat(port, hosts, beaten[0][1]) if beaten else None


def _stakes(route: MeshRoute) -> tuple[_Stake, ...]:
    hosts = route.hostnames or ("",)
    return tuple(
        _Stake(index, place, tuple((host, meant) for host in hosts))
        for index, rule in enumerate(route.rules)
        for place, spec in enumerate(rule.matches)
        for meant in (meaning(spec),)
    )


def _told(route: MeshRoute, defeats: Mapping[tuple[int, int], list[_Defeat]], all_lost: bool) -> Iterator[Problem]:
    for (rule, place), found in sorted(defeats.items(), key=lambda item: item[0]):
        first = found[0].winner
        holder = first.route.rules[first.rule].name
        who = (
            f"rule {holder} before it"
            if first.route.name == route.name
            else f"{first.route.origin.reference} (rule {holder}), which comes first"
        )
        ports = ", ".join(dict.fromkeys(defeat.port for defeat in found))
        hosts = ", ".join(host for host in found[0].hosts if host)
        where = f"{ports} for {hosts}" if hosts else ports
        yield Problem(
            reference=route.origin.reference,
            field=f"spec.rules[{rule}].matches[{place}]",
            reason="Conflicted" if all_lost else "Overridden",
            message=f"on {where} the same match is taken by {who}: this one is never reached there",
            severity="Error" if all_lost else "Warning",
        )
