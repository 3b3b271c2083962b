"""What routes mean: references resolved, times in seconds. Made by `compile.routes`, read by `compile.project`.

Matches, filters, stickiness and retries mean exactly what is sent, so the snapshot's own leaf types stand for them.
"""

from __future__ import annotations

import msgspec

from sidewinder_operator.mesh.origin import Origin
from sidewinder_sidecar.snapshot.filters import FilterSpec, Mirror
from sidewinder_sidecar.snapshot.routes import MatchSpec, RetrySpec, Stickiness


class MeshDestination(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A share of a rule's requests: the MeshBackend that gets it, or why nobody does."""

    backend: str = ""
    weight: int = 1
    filters: tuple[FilterSpec, ...] = ()
    invalid: str = ""


class MeshRule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One rule. No limit of time is None."""

    name: str
    matches: tuple[MatchSpec, ...]
    filters: tuple[FilterSpec, ...] = ()
    destinations: tuple[MeshDestination, ...] = ()
    stickiness: Stickiness | None = None
    request_timeout: float | None = None
    backend_timeout: float | None = None
    retry: RetrySpec | None = None
    origins: tuple[Origin, ...] = ()  # of policies that it holds a part of


class MeshRoute(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One ApiRoute that captures at least one port. `name` is "<namespace>/<name>"."""

    name: str
    namespace: str
    hostnames: tuple[str, ...] = ()
    rules: tuple[MeshRule, ...] = ()
    origin: Origin

    def origins(self) -> tuple[Origin, ...]:
        """Where it comes from: the route first, then policies that its rules hold a part of."""
        return (self.origin, *dict.fromkeys(origin for rule in self.rules for origin in rule.origins))

    def backends(self) -> tuple[str, ...]:
        """The names of all that its requests and their copies may go to, sorted."""
        found = set()
        for rule in self.rules:
            for destination in rule.destinations:
                found.add(destination.backend)
                found.update(each.backend for each in destination.filters if isinstance(each, Mirror))
            found.update(each.backend for each in rule.filters if isinstance(each, Mirror))
        return tuple(sorted(found - {""}))
