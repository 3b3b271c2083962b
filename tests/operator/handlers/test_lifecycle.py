"""The handlers mark what was touched, for each kind of ours, and change nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import kopf

from sidewinder_operator.handlers.lifecycle import registry, touched
from sidewinder_operator.problems import Reference


def test_what_is_touched_is_marked() -> None:
    marked: list[tuple[Reference, str]] = []
    memo = SimpleNamespace(mark=lambda reference, version: marked.append((reference, version)))
    meta = {"namespace": "shop", "name": "reviews", "resourceVersion": "7"}
    asyncio.run(touched(meta=meta, resource=SimpleNamespace(kind="ApiRoute"), memo=memo))  # type: ignore[arg-type]
    assert marked == [(Reference("ApiRoute", "shop", "reviews"), "7")]


def test_no_handler_makes_kopf_write_to_objects() -> None:
    handlers = registry()
    assert isinstance(handlers, kopf.OperatorRegistry)
    assert len(handlers._watching.get_all_handlers()) == 3
    assert not handlers._changing.get_all_handlers()
    assert not handlers._spawning.get_all_handlers()
