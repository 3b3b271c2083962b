"""Regular expressions and templates as users write them: RE2, guaranteed linear in time, and `{name}` of its captures.

Used by the rules of `match` and `route`, and by compile. `re2` is the engine that the sidecar matches with.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # or RE2 itself writes to stderr what becomes a Problem
# 1 MiB of program, an eighth of RE2's own default: 16 rules of 64 matches may each bring one.
_OPTIONS.max_mem = 1 << 20
_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_NAMED = re.compile(r"\(\?P?<(\w+)>")


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> tuple[Any, str]:
    named = _NAMED.findall(_ESCAPED.sub("", pattern))
    if len(named) > len(set(named)):
        return None, "a capture is defined twice"  # RE2's newer releases take it, Go's does not
    try:
        return re2.compile(pattern, _OPTIONS), ""
    except UnicodeEncodeError:
        return None, "not valid Unicode"
    except re2.error as fault:
        reason = fault.args[0] if fault.args else "not valid"
        return None, reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def fault(pattern: str) -> str:
    """Why `pattern` is no RE2 expression; "" when it is one."""
    return _compiled(pattern)[1]


def groups(pattern: str) -> frozenset[str]:
    """The names of its captures; none when it is no RE2 expression."""
    compiled, _ = _compiled(pattern)
    return frozenset(compiled.groupindex) if compiled is not None else frozenset()


def captures(template: str) -> tuple[str, ...]:
    """The names that a template uses, in order."""
    return tuple(_CAPTURE.findall(template))
