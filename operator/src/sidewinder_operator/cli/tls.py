"""`sidewinder tls SERVICE`: which callers use mTLS, which do not, and what Strict would break; from what proxies saw.

Asks the admin door of each proxy that serves the Service: in a cluster through kubectl, of a running `up` over this
machine's loopback. Called by `main`.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from sidewinder_operator.cli import doors, status
from sidewinder_operator.cli.console import Voice, columns
from sidewinder_operator.cli.kubectl import Refused, Unreachable
from sidewinder_operator.inject.options import ADMIN

NAMED = 20  # addresses that are looked up: kubectl takes 50 ms each
PAGE = "/callers"


class Api(Protocol):
    """What `kubectl.Kubectl` gives."""

    def get(self, path: str) -> Any: ...
    def find(self, path: str) -> Any | None: ...
    def items(self, path: str) -> Iterable[Any]: ...
    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any: ...


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One caller of one port, as a proxy says it. `caller`: the SPIFFE ID that it proved, else its address."""

    port: int
    caller: str
    mtls: bool
    address: str
    connections: int
    last: float  # seconds since 1970
    mode: str
    excepted: bool
    listener: str = ""
    pod: str = ""  # "<namespace>/<name>" of the pod that has the address of a caller without a certificate

    @property
    def who(self) -> str:
        """For people."""
        return f"{self.caller} ({self.pod})" if self.pod else self.caller or "somebody"

    @property
    def breaks(self) -> bool:
        """Does Strict refuse it?"""
        return not self.mtls and not self.excepted


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    since: float
    callers: tuple[Row, ...]
    forgotten: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the proxies of a Service saw. `silent`: those that could not be asked, with why."""

    service: str
    proxies: tuple[str, ...]
    silent: dict[str, str]
    since: float  # when the youngest of them began to look
    callers: tuple[Row, ...]  # of all proxies together
    forgotten: int


class Absent(Exception):
    """There is no such Service, or nobody who serves it; says which."""


def in_cluster(api: Api, namespace: str, service: str) -> Seen:
    """What the pods' proxies saw. Raises Absent, and what kubectl raises."""
    found = api.find(f"/api/v1/namespaces/{namespace}/services/{service}")
    if found is None:
        raise Absent(f"there is no Service {namespace}/{service}")
    selector = (found.get("spec") or {}).get("selector") or {}
    pods = [each for each in api.items(f"/api/v1/namespaces/{namespace}/pods") if _selected(each, selector)]
    if not selector or not pods:
        raise Absent(f"Service {namespace}/{service} selects no pod")
    pages: dict[str, _Page | str] = {}
    for pod in pods:
        name = pod["metadata"]["name"]
        try:
            pages[name] = _page(api.ask(namespace, name, ADMIN, PAGE)) if doors.is_proxied(pod) else "it has no proxy"
        except (Refused, Unreachable) as why:
            pages[name] = str(why)
    return _named(api, _seen(f"{namespace}/{service}", pages))


def in_up(state: Path, namespace: str, service: str) -> Seen:
    """What the sidecars of a running `up` saw. Raises Absent, and status.NotRunning."""
    told = json.loads(status.ask(state))
    members = told["services"].get(f"{namespace}/{service}")
    if members is None:
        raise Absent(f"the `sidewinder up` of {state} has no Service {namespace}/{service}")
    if not members:
        raise Absent(f"nobody serves {namespace}/{service}: it selects no LocalProcess")
    pages: dict[str, _Page | str] = {}
    for proxy in told["proxies"]:
        if proxy["id"] in members:
            try:
                pages[proxy["name"]] = _page(doors.ask(proxy["ports"]["admin"], PAGE))
            except (OSError, http.client.HTTPException, ValueError) as why:
                pages[proxy["name"]] = str(why) or type(why).__name__
    return _seen(f"{namespace}/{service}", pages)


def _named(api: Api, seen: Seen) -> Seen:
    """The same with the pods that have the addresses of callers without a certificate, as far as one may see them."""
    addresses = sorted({row.address for row in seen.callers if not row.mtls and row.address})[:NAMED]
    pods: dict[str, str] = {}
    for address in addresses:
        try:
            answer = api.get(f"/api/v1/pods?limit=2&fieldSelector=status.podIP%3D{address}")
        except (Refused, Unreachable):
            break
        found: list[Any] = answer.get("items") or []
        if len(found) == 1:  # several: those of a node's own network
            pods[address] = f"{found[0]['metadata']['namespace']}/{found[0]['metadata']['name']}"
    named = (row if row.mtls else msgspec.structs.replace(row, pod=pods.get(row.address, "")) for row in seen.callers)
    return msgspec.structs.replace(seen, callers=tuple(named))


def _selected(pod: Any, selector: dict[str, str]) -> bool:
    return doors.is_running(pod) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def _page(told: Any) -> _Page | str:
    try:
        return msgspec.convert(told, _Page)
    except msgspec.ValidationError as fault:
        return f"it answers, but not like a proxy of this version: {fault}"


def _seen(service: str, pages: dict[str, _Page | str]) -> Seen:
    answers = [page for page in pages.values() if not isinstance(page, str)]
    together: dict[tuple[int, str, bool, bool], Row] = {}
    for row in (row for page in answers for row in page.callers):
        key = row.port, row.caller, row.mtls, row.excepted
        before = together.get(key)
        if before is not None:
            newest = row if row.last >= before.last else before
            row = msgspec.structs.replace(newest, connections=before.connections + row.connections)
        together[key] = row
    return Seen(
        service=service,
        proxies=tuple(sorted(pages)),
        silent={name: page for name, page in sorted(pages.items()) if isinstance(page, str)},
        since=max((page.since for page in answers), default=0.0),
        callers=tuple(sorted(together.values(), key=lambda row: (row.mtls, row.caller, row.port))),
        forgotten=sum(page.forgotten for page in answers),
    )


def breaks(seen: Seen) -> list[Row]:
    """Whom Strict refuses."""
    return [row for row in seen.callers if row.breaks]


def is_safe(seen: Seen) -> bool:
    """Would Strict break nothing, as far as anybody has seen? Who could not be asked may have seen something."""
    return not breaks(seen) and not seen.silent


def as_json(seen: Seen) -> str:
    """For machines."""
    told = msgspec.to_builtins(seen) | {"safe": is_safe(seen)}
    told["callers"] = [each | {"breaks": row.breaks} for each, row in zip(told["callers"], seen.callers, strict=True)]
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def show(seen: Seen, now: dt.datetime, voice: Voice) -> None:
    """For people."""
    if seen.callers:
        table = columns("caller", "port", "mTLS", "mode", "connections", "last", "Strict")
        for row in seen.callers:
            mode = "left out" if row.excepted else row.mode
            last = f"{_span(now.timestamp() - row.last)} ago"
            verdict = "refuses it" if row.breaks else "lets it pass"
            port, proved = str(row.port), "yes" if row.mtls else "no"
            table.add_row(row.who, port, proved, mode, str(row.connections), last, verdict)
        voice.out.print(table)
    for name, why in seen.silent.items():
        voice.warn(f"{name} could not be asked: {why}")
    if seen.forgotten:
        voice.warn(f"{seen.forgotten} callers more were seen and are forgotten: a proxy remembers the last 1000")
    if len(seen.silent) == len(seen.proxies):
        return
    since = _span(now.timestamp() - seen.since)
    if not seen.callers:
        voice.say(f"nobody has called {seen.service} in the {since} that all its proxies look")
    elif broken := breaks(seen):
        callers = sorted({row.who for row in broken})
        voice.warn(f"Strict refuses {len(callers)} of the callers of {seen.service}: {', '.join(callers[:10])}")
    elif not seen.silent:
        voice.say(f"Strict breaks nothing that was seen of {seen.service} in {since}")


def _span(seconds: float) -> str:
    """In its largest unit."""
    whole = max(int(seconds), 0)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
