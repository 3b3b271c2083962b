"""What is known of everybody's trust, for `authority.rotation`: bundles, proxies and replicas that lag behind.

Asked by the leader while a rotation is under way; looks at what reflectors and streams have told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sidewinder_operator.authority.root import Trust, fingerprint
from sidewinder_operator.authority.rotation import Evidence
from sidewinder_operator.discovery.acks import Acks, Having


class Witness:
    """`required`: the workloads that run a proxy. `lacking`: namespaces whose bundle is another. `name`: for people."""

    def __init__(
        self,
        acks: Acks,
        required: Callable[[], Collection[str]],
        lacking: Callable[[Trust], Collection[str]],
        unheard: Callable[[], tuple[str, ...]],
        name: Callable[[str], str],
    ) -> None:
        self._acks = acks
        self._required = required
        self._lacking = lacking
        self._unheard = unheard
        self._name = name

    def evidence(self, trust: Trust) -> Evidence:
        """Who lacks what the stage needs that this trust is in."""
        wanted = tuple(map(fingerprint, trust.bundle))
        announced = trust.next is not None
        required = self._required()
        missing = [
            workload
            for workload in required
            if not (_trusts if announced else _has_renewed)(self._acks.having.get(workload), wanted)
        ]
        return Evidence(
            required=len(required),
            bundles=tuple(sorted(self._lacking(trust))),
            proxies=tuple(sorted(map(self._name, missing))),
            replicas=self._unheard(),
        )


def _trusts(having: Having | None, wanted: tuple[str, ...]) -> bool:
    """It trusts all of the bundle."""
    return having is not None and set(wanted) <= {*having.trusts}


def _has_renewed(having: Having | None, wanted: tuple[str, ...]) -> bool:
    """Its certificate is of the root that signs now, as far as it has heard which that is."""
    return having is not None and having.renewed and having.trusts[:1] == wanted[:1]
