"""Who came first: the one order in which objects of a kind are judged. And how the mesh names what it comes from."""

from __future__ import annotations

from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.resources import Object


def origin(thing: Object, stale: bool = False) -> Origin:
    """The object as the source of something in the mesh."""
    return Origin(thing.reference, thing.metadata.uid, thing.metadata.generation, stale)


def seniority(thing: Object) -> tuple[str, str, str]:
    """The oldest first, then namespace/name. Files carry no age: there the name alone decides."""
    return thing.metadata.creation_timestamp, thing.namespace, thing.name
