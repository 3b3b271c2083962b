"""`sidewinder drains`: how the proxies that have ended last did so, how long that took and what they waited for.

A proxy that has gone can be asked no more: the operator that it told is. Called by `main`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from sidewinder_operator.cli import status
from sidewinder_operator.cli.console import Voice, columns
from sidewinder_operator.cli.kubectl import Unreachable
from sidewinder_operator.discovery.drains import Drain, cut, waited, waited_for

HEALTH = 8080  # the operator's port, as the chart has it
PAGE = "/drainz"
COMPONENT = ("app.kubernetes.io/component", "operator")


class Api(Protocol):
    """What `kubectl.Kubectl` gives."""

    def items(self, path: str) -> Iterable[Any]: ...
    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any: ...


def in_up(state: Path, namespace: str = "") -> tuple[Drain, ...]:
    """What a running `up` was told, which is in no namespace. Raises status.NotRunning."""
    return _read(json.loads(status.ask(state)).get("drains", ()))


def in_cluster(api: Api, namespace: str) -> tuple[Drain, ...]:
    """What all replicas of the operator were told. Raises what kubectl raises; all of them must answer."""
    label, value = COMPONENT
    replicas = [
        pod["metadata"]["name"]
        for pod in api.items(f"/api/v1/namespaces/{namespace}/pods")
        if pod["metadata"].get("labels", {}).get(label) == value and pod["status"].get("phase") == "Running"
    ]
    if not replicas:
        raise Unreachable(f"no operator runs in the namespace {namespace}: name it with --operator-namespace")
    found = [one for name in sorted(replicas) for one in _read(api.ask(namespace, name, HEALTH, PAGE))]
    return tuple(sorted(found, key=lambda one: one.at))


def _read(told: Any) -> tuple[Drain, ...]:
    try:
        return msgspec.convert(told, tuple[Drain, ...])
    except msgspec.ValidationError as fault:
        raise Unreachable(f"it answers, but not like an operator of this version: {fault}") from None


def is_well(found: Iterable[Drain]) -> bool:
    """Did each of them finish what ran?"""
    return not any(one.report.cut_requests for one in found)


def as_json(found: tuple[Drain, ...]) -> str:
    """For machines."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def show(found: tuple[Drain, ...], now: dt.datetime, voice: Voice) -> None:
    """For people, the newest last."""
    if not found:
        voice.say("no proxy has ended since the operator began")
        return
    table = columns("proxy", "ended", "took", "nobody came after", "", "")
    for one in found:
        report = one.report
        ago = f"{max(0.0, now.timestamp() - one.at):.0f} s ago"
        retired = f"{report.retired:.3f} s" if report.retired else "not told"
        what = "\n".join((waited(report), *([waited_for(one.held)] if one.held else ())))
        table.add_row(one.who, ago, f"{report.drained:.3f} s", retired, what, cut(report))
    voice.out.print(table)
