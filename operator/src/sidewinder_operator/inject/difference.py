"""The JSON patch (RFC 6902) that makes one document of another. Called by `patch`.

Objects are compared field by field, lists whole unless they are equally long. No test operations: the API server
applies a patch to exactly what it has sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]


def difference(before: Any, after: Any, path: str = "") -> Iterator[Operation]:
    """The operations, in an order in which they can be applied."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() - after.keys()):
            yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}
        for name, value in after.items():
            here = f"{path}/{_escaped(name)}"
            if name in before:
                yield from difference(before[name], value, here)
            else:
                yield {"op": "add", "path": here, "value": value}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from difference(*pair, f"{path}/{index}")
    elif before != after or type(before) is not type(after):
        yield {"op": "replace", "path": path, "value": after}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
