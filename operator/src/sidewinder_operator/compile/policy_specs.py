"""A MeshPolicy as sent: the PolicySpec, and the keys, credentials and lists of addresses that it names.

One function, no decision: each section's own file says how it is sent. Called by `project`.
"""

from __future__ import annotations

from collections.abc import Iterator

from sidewinder_operator.compile import (
    adaptive_concurrency,
    authentication,
    authorization,
    cors,
    mtls,
    redact,
    size_limits,
)
from sidewinder_operator.mesh.policies import MeshPolicy
from sidewinder_sidecar.snapshot import Resource
from sidewinder_sidecar.snapshot.policies import PolicySpec


def policy(meant: MeshPolicy) -> PolicySpec:
    """What callers of a port must meet, as sent."""
    return PolicySpec(
        name=meant.name,
        closed=", ".join(meant.closed),
        mtls=mtls.spec(meant.mtls),
        path_normalization=authorization.strictest(held.section for held in meant.authorization),
        cors=cors.spec(meant.cors.section, meant.cors.policy) if meant.cors is not None else None,
        authentication=tuple(authentication.spec(held.section, held.policy) for held in meant.authentication),
        authorization=tuple(authorization.spec(held.section, held.policy) for held in meant.authorization),
        redact=redact.spec(meant.redact),
        adaptive_concurrency=tuple(
            adaptive_concurrency.spec(held.section, held.policy) for held in meant.adaptive_concurrency
        ),
        size_limits=size_limits.spec(meant.size_limits),
    )


def named(meant: MeshPolicy) -> Iterator[tuple[str, Resource]]:
    """What it names, under the names of resources. Only proxies on which it holds get any of this."""
    for held in meant.authentication:
        for credentials in authentication.credential_specs(held.section):
            yield f"credentials/{credentials.name}", credentials
        for keys in authentication.key_specs(held.section):
            yield f"keys/{keys.name}", keys
    for rules in meant.authorization:
        for addresses in rules.section.lists:
            yield f"addresses/{addresses.name}", addresses
