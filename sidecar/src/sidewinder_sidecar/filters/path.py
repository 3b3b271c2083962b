"""How a path is replaced: whole, by prefix, by template. Shared by redirect and rewrite, asked once per plan.

The query is not touched here: both callers keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sidewinder_sidecar.filters import template
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.snapshot.filters import FullPath, PathReplacement, PrefixReplacement, TemplatePath

Replace: TypeAlias = Callable[[Call], bytes]


def replacement(spec: PathReplacement, prefix: bytes) -> Replace:
    """What gives a call its new path. `prefix` is what the rule's PathPrefix matched."""
    match spec:
        case FullPath():
            whole = template.path(spec.value.replace("{", "{{").replace("}", "}}"))(None)
            return lambda _call: whole
        case PrefixReplacement():
            return by_prefix(prefix, template.path(spec.value.replace("{", "{{").replace("}", "}}"))(None))
        case TemplatePath():
            fill = template.path(spec.value)
            return lambda call: fill(call.captures)


def by_prefix(prefix: bytes, new: bytes) -> Replace:
    """Gateway API, HTTPPathModifier: slashes at the end of either mean nothing, and there is one where they meet."""
    old = prefix.rstrip(b"/")
    length = len(old)
    stem = new.rstrip(b"/")

    def replace(call: Call) -> bytes:
        path = call.request.path
        if path[:length] != old:  # an earlier filter has replaced it already
            return path
        rest = path[length:]
        if rest in (b"", b"/"):
            return (stem + rest) or b"/"
        return stem + rest if rest[:1] == b"/" else stem + b"/" + rest

    return replace
