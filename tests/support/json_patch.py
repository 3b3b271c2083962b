"""Applies a JSON patch (RFC 6902) of add, remove and replace to a copy: what an API server does with it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any


def patched(document: Any, operations: Iterable[dict[str, Any]]) -> Any:
    """The document afterwards. Raises KeyError or IndexError where an operation has no place."""
    whole = {"": copy.deepcopy(document)}
    for operation in operations:
        *path, last = ["", *(part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])]
        holder: Any = whole
        for part in path:
            holder = holder[int(part) if isinstance(holder, list) else part]
        key: Any = int(last) if isinstance(holder, list) else last
        if operation["op"] == "remove":
            del holder[key]
        elif operation["op"] == "replace" and not isinstance(holder, list):
            holder[key]  # it must be there
            holder[key] = copy.deepcopy(operation["value"])
        elif isinstance(holder, list) and operation["op"] == "add":
            holder.insert(key, copy.deepcopy(operation["value"]))
        else:
            holder[key] = copy.deepcopy(operation["value"])
    return whole[""]
