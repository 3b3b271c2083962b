"""The mark leaves a class as it is; and what a compiled build compiles is what is running."""

from __future__ import annotations

import os

import pytest

from sidewinder_sidecar import exchange, fields, messages, wire
from sidewinder_sidecar.compiled import mypyc_attr
from sidewinder_sidecar.downstream import http1 as downstream
from sidewinder_sidecar.http1 import encode
from sidewinder_sidecar.upstream import http1 as upstream


def test_the_mark_changes_nothing() -> None:
    class Marked:
        pass

    assert mypyc_attr(allow_interpreted_subclasses=True)(Marked) is Marked


@pytest.mark.parametrize("module", [exchange, fields, messages, wire, downstream, encode, upstream])
def test_what_runs_is_what_was_asked_for(module: object) -> None:
    """`make test-compiled` sets the variable, which is also the one that builds."""
    wanted = os.environ.get("COMPILE_SIDEWINDER") == "1"
    assert str(getattr(module, "__file__", "")).endswith(".so") == wanted
