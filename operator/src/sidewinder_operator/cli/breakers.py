"""`sidewinder breakers [SERVICE]`: which endpoints are left alone, by how many of their callers, why and until when.

A breaker is the calling proxy's own, so all proxies are asked, at their admin doors: in a cluster through kubectl, of a
running `up` over this machine's loopback. Called by `main`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sidewinder_operator.cli import doors
from sidewinder_operator.cli.console import Voice, columns

PAGE = "/breakers"


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker, as one proxy says it. Times are seconds since 1970."""

    endpoint: str
    uid: str
    state: str
    since: float
    until: float
    why: str
    times: int


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that run, and what was refused by which limit."""

    requests: int
    refused: dict[str, int]


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """One way to call a Service, in one proxy."""

    backend: str
    service: str
    endpoints: int
    panicking: bool
    ejections: int
    open: tuple[Open, ...]
    concurrency: Limits | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    since: float
    backends: tuple[Backend, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint that somebody leaves alone. `since` is the first of them, `until` the last, `why` the newest."""

    backend: str
    endpoint: str
    state: str
    since: float
    until: float
    why: str
    seen: int  # by so many proxies
    of: int  # that have a breaker for it


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What all proxies say. `silent`: those that could not be asked, with why. `panicking`, `refused`: by backend."""

    service: str  # "": all
    known: tuple[str, ...]  # Services that some proxy has breakers or limits for
    proxies: int
    silent: dict[str, str]
    open: tuple[Row, ...]
    panicking: dict[str, int]
    refused: dict[str, dict[str, int]]


def in_cluster(api: doors.Api, service: str) -> Seen:
    """What the proxies of all pods say of `<namespace>/<name>` ("": of all). Raises what kubectl raises."""
    return _seen(service, doors.every_pod(api, PAGE, _Page))


def in_up(state: Path, service: str) -> Seen:
    """What the proxies of a running `up` say. Raises status.NotRunning."""
    return _seen(service, doors.every_local(state, PAGE, _Page))


def _seen(service: str, pages: Mapping[str, _Page | str]) -> Seen:
    backends = [
        backend
        for page in pages.values()
        if not isinstance(page, str)
        for backend in page.backends
        if service in ("", backend.service)
    ]
    watching: dict[str, int] = {}
    panicking: dict[str, int] = {}
    refused: dict[str, dict[str, int]] = {}
    together: dict[tuple[str, str, str], list[Open]] = {}
    for backend in backends:
        watching[backend.backend] = watching.get(backend.backend, 0) + 1
        if backend.panicking:
            panicking[backend.backend] = panicking.get(backend.backend, 0) + 1
        for limit, count in (backend.concurrency.refused if backend.concurrency is not None else {}).items():
            if count:
                of = refused.setdefault(backend.backend, {})
                of[limit] = of.get(limit, 0) + count
        for each in backend.open:
            together.setdefault((backend.backend, each.endpoint, each.uid), []).append(each)
    every = (backend.service for page in pages.values() if not isinstance(page, str) for backend in page.backends)
    return Seen(
        service=service,
        known=tuple(sorted(set(every))),
        proxies=len(pages),
        silent={name: page for name, page in sorted(pages.items()) if isinstance(page, str)},
        open=tuple(_row(name, found, watching[name]) for (name, _, _), found in sorted(together.items())),
        panicking=dict(sorted(panicking.items())),
        refused=dict(sorted(refused.items())),
    )


def _row(backend: str, found: list[Open], watching: int) -> Row:
    newest = max(found, key=lambda each: each.since)
    return Row(
        backend=backend,
        endpoint=newest.endpoint,
        state="open" if any(each.state == "open" for each in found) else newest.state,
        since=min(each.since for each in found),
        until=max(each.until for each in found),
        why=newest.why,
        seen=len(found),
        of=watching,
    )


def is_well(seen: Seen) -> bool:
    """Is nobody left alone, as far as anybody can say?"""
    return not seen.open and not seen.panicking and not seen.silent


def as_json(seen: Seen) -> str:
    """For machines."""
    return msgspec.json.format(msgspec.json.encode(seen), indent=2).decode()


def show(seen: Seen, now: dt.datetime, voice: Voice) -> None:
    """For people."""
    if seen.open:
        table = columns("backend", "endpoint", "state", "since", "until", "proxies", "why")
        for row in seen.open:
            left = row.until - now.timestamp()
            until = f"in {_span(left)}" if left > 0 else "the next request"
            since = f"{_span(now.timestamp() - row.since)} ago"
            table.add_row(row.backend, row.endpoint, row.state, since, until, f"{row.seen} of {row.of}", row.why)
        voice.out.print(table)
    for name, count in seen.panicking.items():
        voice.warn(f"{count} proxies use all endpoints of {name}: too few are healthy")
    for name, limits in seen.refused.items():
        told = ", ".join(f"{count} by {limit}" for limit, count in limits.items())
        voice.warn(f"requests to {name} were refused since the proxies began: {told}")
    for name, why in seen.silent.items():
        voice.warn(f"{name} could not be asked: {why}")
    if seen.service and seen.service not in seen.known and len(seen.silent) < seen.proxies:
        meant = doors.elsewhere(seen.service, seen.known)
        voice.warn(f"none of {seen.proxies} proxies has breakers or limits for {seen.service}{meant}")
    elif not seen.open and len(seen.silent) < seen.proxies:
        voice.say(
            f"no endpoint{f' of {seen.service}' if seen.service else ''} is ejected by any of {seen.proxies} proxies"
        )
    elif not seen.proxies:
        voice.warn("there is no proxy to ask")


def _span(seconds: float) -> str:
    """In its largest unit."""
    whole = max(int(seconds), 0)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
