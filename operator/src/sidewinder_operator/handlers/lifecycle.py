"""kopf's handlers, five lines at most each: they mark what somebody touched, the work is done from state elsewhere.

Called by `thread`. They are event handlers alone: kopf writes nothing to the objects, no finalizer and no annotation,
so that nothing is left behind when the operator is uninstalled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.crd import DEFINITIONS
from sidewinder_operator.resources.meta import VERSION

Mark = Callable[[Reference, str], None]  # what was touched, and its resourceVersion
_GROUP, _, _VERSION = VERSION.partition("/")


def registry() -> kopf.OperatorRegistry:
    """All handlers; they find the `Mark` to call in kopf's memo."""
    handlers = kopf.OperatorRegistry()
    for definition in DEFINITIONS:
        kopf.on.event(_GROUP, _VERSION, definition.plural, registry=handlers, id="touched")(touched)
    return handlers


async def touched(meta: kopf.Meta, resource: Any, memo: Any, **_: Any) -> None:
    """Somebody wrote to an object: what its status says may have been changed."""
    memo.mark(Reference(resource.kind, meta["namespace"], meta["name"]), meta["resourceVersion"])
