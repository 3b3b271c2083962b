"""What versions say, so that it can be told from the bare versions that a sidecar acknowledges. Fed by `store`.

Asked by `departures`. Bounded; what has been forgotten counts as unknown, which costs a leaving pod patience and
nothing else.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from sidewinder_operator.compile.project import Encoded

VERSIONS = 128  # of one EndpointsSpec: a sidecar that is further behind is waited for
NAMES = 100_000  # of endpoints, and of versions of leaving proxies: ten times the largest mesh measured
PROXY, ENDPOINTS = "proxy/self", "endpoints/"
OWN = "inbound"  # and a port: a proxy's own application, which every proxy calls by the same name


class _Leaving(msgspec.Struct):
    terminating: bool = False
    last_resort: bool = False


def is_shared(name: str) -> bool:
    """Whether a resource says who answers for a Service: to everybody who calls it, not to the pod itself."""
    rest = name.removeprefix(ENDPOINTS)
    return rest != name and ("/" in rest or rest.partition("-")[0] != OWN)


class Contents:
    """`learn` each version once, or again."""

    def __init__(self) -> None:
        self.ready: dict[str, dict[str, frozenset[str]]] = {}  # endpoints → version, the newest last → pods' uids
        self.forgotten: set[str] = set()  # endpoints some of whose versions are not known any more
        # Versions of `proxy/self` that tell a pod that it goes, and whether it is called all the same.
        self._leaving: dict[str, bool] = {}

    def learn(self, encoded: Encoded) -> None:
        """A version of a resource, before it is sent to anybody."""
        if is_shared(encoded.name):
            versions = self.ready.setdefault(encoded.name, {})
            versions.pop(encoded.version, None)
            versions[encoded.version] = encoded.ready
            if len(versions) > VERSIONS:
                del versions[next(iter(versions))]
                self.forgotten.add(encoded.name)
            if len(self.ready) > NAMES:
                self._forget(next(iter(self.ready)))
        elif encoded.name == PROXY and (told := msgspec.json.decode(encoded.raw, type=_Leaving)).terminating:
            self._leaving[encoded.version] = told.last_resort
            if len(self._leaving) > NAMES:
                del self._leaving[next(iter(self._leaving))]

    def is_leaving(self, version: str | None) -> bool:
        """Whether a proxy of this version has been told that its pod goes."""
        return version in self._leaving

    def is_kept(self, version: str | None) -> bool:
        """Whether it has also been told that it is a Service's last resort: endpoints name it as ready still."""
        return version is not None and self._leaving.get(version, False)

    def naming(self, pods: Collection[str]) -> dict[str, dict[str, frozenset[str]]]:
        """The endpoints that have named one of these pods as ready, or may have."""
        return {
            name: versions
            for name, versions in self.ready.items()
            if name in self.forgotten or any(not ready.isdisjoint(pods) for ready in versions.values())
        }

    def last_named(self, pod: str) -> list[str]:
        """The Services' ports of which the newest version names this pod as ready."""
        newest = ((name, next(reversed(versions.values()))) for name, versions in self.ready.items() if versions)
        return sorted(name.removeprefix(ENDPOINTS) for name, ready in newest if pod in ready)

    def _forget(self, name: str) -> None:
        del self.ready[name]
        self.forgotten.discard(name)

    def knows(self, name: str, version: str) -> bool:
        """Whether it is known whom this version names."""
        return version in self.ready.get(name, ())
