"""Which Secrets and ConfigMaps a policy names: what of those a replica has to read. Asked by `watch`.

A field `…secretRef` is a Secret's, `configMapRef` and `configMap` are a ConfigMap's, both of the policy's namespace.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.resources.core import ConfigMap, Secret
from sidewinder_operator.resources.policy import ApiPolicy

_CONFIG_MAPS = ("config_map", "config_map_ref")


class Need(NamedTuple):
    """One object."""

    kind: str
    namespace: str
    name: str


def needs(policy: ApiPolicy) -> frozenset[Need]:
    """All that one policy names."""
    return frozenset(Need(kind, policy.namespace, name) for kind, name in _named(policy.spec))


def _named(part: Any) -> Iterator[tuple[str, str]]:
    if isinstance(part, tuple):
        for item in part:
            yield from _named(item)
    elif isinstance(part, msgspec.Struct):
        for field in part.__struct_fields__:
            value = getattr(part, field)
            if isinstance(value, msgspec.Struct):
                if field.endswith("secret_ref"):
                    yield Secret.KIND, value.name  # type: ignore[attr-defined]  # every reference has a name
                elif field in _CONFIG_MAPS:
                    yield ConfigMap.KIND, value.name  # type: ignore[attr-defined]
            yield from _named(value)
