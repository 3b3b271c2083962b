"""`sidewinder mirrors [ROUTE]`: what became of the copies of requests, and where their answers differ.

Each proxy copies what it sends itself, so all proxies are asked, at their admin doors, and their counts added up.
Called by `main`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sidewinder_operator.cli import doors
from sidewinder_operator.cli.console import Voice, columns

PAGE = "/mirror"
MOST_SAMPLES = 8  # of one mirror, the latest: as many as one proxy keeps


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A field that differs. None: it is not there."""

    name: str
    original: str | None
    mirror: str | None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A status, or bytes of a body."""

    original: int
    mirror: int


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request whose answers differed. `time` is seconds since 1970; what did not differ is None."""

    time: float
    method: str
    path: str
    request_id: str
    status: Pair | None = None
    headers: tuple[Header, ...] = ()
    body: Pair | None = None


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """One mirror, as one proxy says it, or of all of them together. The counts are by name, as on the page."""

    route: str
    rule: str
    backend: str
    copies: dict[str, int]
    compared: dict[str, int]
    differences: dict[str, int]
    samples: tuple[Sample, ...]


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    mirrors: tuple[Mirror, ...]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What all proxies say. `silent`: those that could not be asked, with why."""

    route: str  # "": all
    known: tuple[str, ...]  # routes that mirror
    proxies: int
    silent: dict[str, str]
    mirrors: tuple[Mirror, ...]


def in_cluster(api: doors.Api, route: str) -> Seen:
    """What the proxies of all pods say of `<namespace>/<name>` ("": of all). Raises what kubectl raises."""
    return _seen(route, doors.every_pod(api, PAGE, _Page))


def in_up(state: Path, route: str) -> Seen:
    """What the proxies of a running `up` say. Raises status.NotRunning."""
    return _seen(route, doors.every_local(state, PAGE, _Page))


def _seen(route: str, pages: Mapping[str, _Page | str]) -> Seen:
    together: dict[tuple[str, str, str], list[Mirror]] = {}
    for page in pages.values():
        for one in page.mirrors if not isinstance(page, str) else ():
            together.setdefault((one.route, one.rule, one.backend), []).append(one)
    return Seen(
        route=route,
        known=tuple(sorted({place[0] for place in together})),
        proxies=len(pages),
        silent={name: page for name, page in sorted(pages.items()) if isinstance(page, str)},
        mirrors=tuple(_sum(found) for place, found in sorted(together.items()) if route in ("", place[0])),
    )


def _sum(found: list[Mirror]) -> Mirror:
    samples = sorted((sample for one in found for sample in one.samples), key=lambda sample: sample.time)
    return Mirror(
        route=found[0].route,
        rule=found[0].rule,
        backend=found[0].backend,
        copies=_added(one.copies for one in found),
        compared=_added(one.compared for one in found),
        differences=_added(one.differences for one in found),
        samples=tuple(samples[-MOST_SAMPLES:]),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def is_well(seen: Seen) -> bool:
    """Does no answer differ, as far as anybody can say?"""
    return not seen.silent and not any(one.compared.get("different") for one in seen.mirrors)


def as_json(seen: Seen) -> str:
    """For machines."""
    return msgspec.json.format(msgspec.json.encode(seen), indent=2).decode()


def show(seen: Seen, now: dt.datetime, voice: Voice) -> None:
    """For people."""
    if seen.mirrors:
        table = columns("route", "rule", "backend", "copies", "same", "different", "what differs")
        for one in seen.mirrors:
            same, different = (str(one.compared.get(what, 0)) for what in ("same", "different"))
            table.add_row(
                one.route, one.rule, one.backend, _listed(one.copies), same, different, _listed(one.differences)
            )
        voice.out.print(table)
    for one in seen.mirrors:
        if one.samples:
            voice.say(f"the latest of {one.route}, rule {one.rule}, that differ:")
            for sample in one.samples:
                voice.out.print(f"  {_told(sample, now)}", markup=False, highlight=False, soft_wrap=True)
    for name, why in seen.silent.items():
        voice.warn(f"{name} could not be asked: {why}")
    if not seen.mirrors and len(seen.silent) < seen.proxies:
        of = f" for {seen.route}{doors.elsewhere(seen.route, seen.known)}" if seen.route else ""
        voice.say(f"none of {seen.proxies} proxies mirrors anything{of}")
    elif not seen.proxies:
        voice.warn("there is no proxy to ask")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "none"


def _told(sample: Sample, now: dt.datetime) -> str:
    differing: list[Any] = []
    if sample.status is not None:
        differing.append(f"status {sample.status.original} → {sample.status.mirror}")
    differing += [f"{one.name}: {one.original or 'none'} → {one.mirror or 'none'}" for one in sample.headers]
    if sample.body is not None:
        sizes = sample.body.original, sample.body.mirror
        other = "another body" if sizes[0] == sizes[1] else "body"
        differing.append(f"{other}, {sizes[0]} → {sizes[1]} bytes")
    ago = f"{max(0.0, now.timestamp() - sample.time):.0f} s ago"
    return f"{ago}  {sample.method} {sample.path}  {'; '.join(differing)}  (request {sample.request_id})"
