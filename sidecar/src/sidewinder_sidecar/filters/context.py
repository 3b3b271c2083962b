"""What a builder of a server section's filter is given: what the snapshot holds, and the means of the process.

Made once per plan by `plan/guards`. Filters must not keep it: only what they take out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from sidewinder_sidecar.compiled import mypyc_attr
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Call, Reply, Response, Wait
from sidewinder_sidecar.snapshot.authentication import CredentialsSpec, KeysSpec
from sidewinder_sidecar.snapshot.authorization import AddressesSpec
from sidewinder_sidecar.wheel import Wheel

RequestFilter: TypeAlias = Callable[[Call], Reply | Wait | None]
ResponseFilter: TypeAlias = Callable[[Call, Response], None]


@mypyc_attr(allow_interpreted_subclasses=True)
class Context:
    """The names that a policy uses are in the mappings: `plan/guards` has seen to it."""

    __slots__ = (
        "addresses", "ask", "clock", "count", "credentials", "keys", "memory", "trust_domain", "unknown_key",
        "wheel",
    )  # fmt: skip

    def __init__(
        self,
        means: Means,
        wheel: Wheel,
        keys: Mapping[str, KeysSpec],
        credentials: Mapping[str, CredentialsSpec],
        addresses: Mapping[str, AddressesSpec],
        trust_domain: str = "",
    ) -> None:
        self.keys = keys
        self.credentials = credentials
        self.addresses = addresses
        self.trust_domain = trust_domain  # of the proxy; "" while it has none
        self.clock: Callable[[], float] = means.clock  # wall clock, seconds
        self.ask: Any = means.ask
        self.unknown_key = means.unknown_key  # (keys that lack one, what to call with newer ones)
        self.count: Callable[[str, str, str], None] = means.count  # (kind, action, "<namespace>/<name>")
        self.memory: dict[str, Any] = means.memory  # what outlives the plan, by name
        self.wheel = wheel

    def __repr__(self) -> str:
        return f"<Context {len(self.keys)} keys, {len(self.credentials)} credentials, {len(self.addresses)} addresses>"
