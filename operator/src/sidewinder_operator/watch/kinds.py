"""Which kinds every replica follows: one table, from the path at the API server to the record that is kept.

Secrets and ConfigMaps are not among them: of those only what a policy names is followed, one by one (`named`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sidewinder_operator.resources.core import EndpointSlice, Namespace, Service
from sidewinder_operator.resources.crd import DEFINITIONS
from sidewinder_operator.resources.meta import VERSION, Named
from sidewinder_operator.watch.records import pod, written

PODS = "Pod"


class Followed(NamedTuple):
    """One kind. `keep` makes its records."""

    kind: str
    path: str
    keep: Callable[[bytes], Any]


def _row(kind: type[Named], plural: str) -> Followed:
    group = f"/apis/{kind.API_VERSION}" if "/" in kind.API_VERSION else f"/api/{kind.API_VERSION}"
    return Followed(kind.KIND, f"{group}/{plural}", written(kind))


FOLLOWED: tuple[Followed, ...] = (
    *(_row(of.kind, of.plural) for of in DEFINITIONS),
    _row(Namespace, "namespaces"),
    _row(Service, "services"),
    _row(EndpointSlice, "endpointslices"),
    Followed(PODS, "/api/v1/pods", pod),
)


def path_of(kind: str, namespace: str, name: str) -> str:
    """Where one object of our own kinds is."""
    return f"{_PATHS[kind]}/namespaces/{namespace}/{_PLURALS[kind]}/{name}"


_PLURALS = {of.kind.KIND: of.plural for of in DEFINITIONS}
_PATHS = {of.kind.KIND: f"/apis/{VERSION}" for of in DEFINITIONS}
