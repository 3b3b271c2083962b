"""Section `sizeLimits`: sizes become bytes, and of several levels the smallest of each holds.

`policies` asks for what is sent to the proxies of a port, `routes` for what a rule's own filter is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sidewinder_operator.compile.sections import Applied, Attachments, Built, Row, read_spec, route_chain
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.policies import Held
from sidewinder_operator.mesh.size_limits import MeshSizeLimits
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.quantity import size
from sidewinder_operator.resources.size_limits import SizeLimits
from sidewinder_sidecar.snapshot.filters import FilterSpec
from sidewinder_sidecar.snapshot.filters import SizeLimits as SizesFilter
from sidewinder_sidecar.snapshot.policies import SizesSpec


def build(written: SizeLimits, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant; nothing needs another object."""
    meant = MeshSizeLimits(
        request_headers=_bytes(written.request_headers),
        request_body=_bytes(written.request_body),
        response_body=_bytes(written.response_body),
    )
    return meant, ()


def _bytes(written: str | None) -> int | None:
    return None if written is None else size(written)


def smaller(one: MeshSizeLimits, other: MeshSizeLimits) -> MeshSizeLimits:
    """Field by field."""
    return MeshSizeLimits(
        request_headers=_least(one.request_headers, other.request_headers),
        request_body=_least(one.request_body, other.request_body),
        response_body=_least(one.response_body, other.response_body),
    )


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def spec(held: Iterable[Held[MeshSizeLimits]]) -> SizesSpec | None:
    """As sent: all of them together, under the names of all; None if there is none."""
    found = tuple(held)
    if not found:
        return None
    meant = MeshSizeLimits()
    for each in found:
        meant = smaller(meant, each.section)
    return SizesSpec(
        policy=", ".join(sorted({each.policy for each in found})),
        request_headers=meant.request_headers,
        request_body=meant.request_body,
        response_body=meant.response_body,
    )


class OnRule(NamedTuple):
    """What is attached to a route and to one rule of it."""

    filters: tuple[FilterSpec, ...]  # at most one
    origins: tuple[Origin, ...]


def on_rule(attachments: Attachments, namespace: str, route: str, rule: str) -> OnRule:
    """The rule's first filter: it acts where the route does, in the caller's proxy."""
    found: tuple[Applied, ...] = attachments.effective(ROW, route_chain(namespace, route, rule))
    sent = spec(Held(f"{one.origin.reference.namespace}/{one.origin.reference.name}", one.value) for one in found)
    filters = () if sent is None else (SizesFilter(sent),)
    return OnRule(filters, tuple(one.origin for one in found))


ROW = Row("sizeLimits", SizeLimits, read_spec("sizeLimits"), build, combine=smaller)
