"""Which keys a JWT provider verifies with: written in place, in a ConfigMap, or fetched from the issuer.

`compile/jwt` asks `keys` for a provider's; `main` and `up` ask `wanted` for everything that `issuers` should fetch, and
put what it has into `Cluster.keys`. One key set is one resource, whoever uses it: it is named by where it is from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from sidewinder_operator.compile.sections import Fault
from sidewinder_operator.mesh.jwt import MeshKeys
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.jwt import ConfigMapJwks, DiscoveryJwks, Jwt
from sidewinder_operator.resources.keys import Wanted
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot.authentication import KeysSpec
from sidewinder_sidecar.snapshot.jwks import Unfit, judge

WELL_KNOWN = "/.well-known/openid-configuration"  # OpenID Connect Discovery 1.0 section 4
UNAVAILABLE = "KeysUnavailable"  # reason of a condition
NOT_YET = "the operator has not fetched them yet"
_HOST = re.compile(r"https?://([^/]+)")


def keys(written: Jwt, namespace: str, cluster: Cluster) -> tuple[MeshKeys | None, tuple[Fault, ...]]:
    """The provider's keys; None where what users wrote cannot be used. Faults are relative to the provider."""
    source = written.jwks
    if source is not None and source.inline is not None:
        return _judged(source.inline, "inline", "jwks.inline")
    if source is not None and source.config_map is not None:
        return _configured(source.config_map, namespace, cluster)
    asked = question(written)
    held = cluster.keys.get(asked.id)
    if held is None or not held.jwks:
        return MeshKeys(id=asked.id, missing=held.problem if held is not None and held.problem else NOT_YET), ()
    return MeshKeys(id=asked.id, jwks=held.jwks), ()


def question(written: Jwt) -> Wanted:
    """What is to be fetched for it. Only of a provider whose keys are the issuer's."""
    source = written.jwks
    if source is not None and source.remote is not None:
        remote = source.remote
        return _wanted(remote.uri, "", seconds(remote.cache_duration), remote.ca or "")
    settings = (source.discovery if source is not None else None) or DiscoveryJwks()
    address = written.issuer.rstrip("/") + WELL_KNOWN
    return _wanted(address, written.issuer, seconds(settings.cache_duration), settings.ca or "")


def problems(cluster: Cluster) -> Iterator[Problem]:
    """What went wrong with fetching, told to the policies that need it. What nobody has tried yet is no problem: it is
    how a command line sees every issuer."""
    for policy, index, written in _fetching(cluster):
        held = cluster.keys.get(question(written).id)
        if held is None or not held.problem:
            continue
        after = "the last good keys stay" if held.jwks else "there are no keys yet, so no token of this issuer is taken"
        yield Problem(
            reference=policy.reference,
            field=f"spec.authentication.providers[{index}].jwt.jwks",
            reason=UNAVAILABLE,
            message=f"{held.problem}; {after}",
            severity="Warning",
        )


def wanted(cluster: Cluster) -> dict[str, Wanted]:
    """Everything that policies need and the operator has to fetch, by the names of key sets; of two that ask for the
    same, the shorter time counts."""
    found: dict[str, Wanted] = {}
    for _, _, written in _fetching(cluster):
        asked = question(written)
        other = found.get(asked.id)
        found[asked.id] = asked if other is None or asked.seconds < other.seconds else other
    return dict(sorted(found.items()))


def _fetching(cluster: Cluster) -> Iterator[tuple[ApiPolicy, int, Jwt]]:
    """Every provider whose keys are the issuer's, with its place."""
    for policy in cluster.policies.values():
        section = policy.spec.authentication
        for index, provider in enumerate(section.providers if section is not None else ()):
            written = provider.jwt
            if written is not None and (written.jwks is None or written.jwks.type in ("Remote", "Discovery")):
                yield policy, index, written


def spec(meant: MeshKeys) -> KeysSpec:
    """As sent."""
    return KeysSpec(name=meant.id, jwks=meant.jwks, missing=meant.missing)


def _wanted(address: str, issuer: str, every: float, ca: str) -> Wanted:
    """The name holds the host, for people; who asks in another way must not share what somebody else's CA vouched
    for."""
    host = _HOST.match(address)
    digest = hashlib.sha256("\n".join((address, issuer, ca)).encode()).hexdigest()[:16]
    name = re.sub(r"[^a-z0-9.]", "-", host[1].lower() if host else "issuer").strip(".-")[:60]
    return Wanted(id=f"{name or 'issuer'}-{digest}", address=address, issuer=issuer, seconds=every, ca=ca)


def _configured(ref: ConfigMapJwks, namespace: str, cluster: Cluster) -> tuple[MeshKeys | None, tuple[Fault, ...]]:
    found = cluster.configs.get((namespace, ref.name))
    if found is None:
        message = f"there is no ConfigMap {namespace}/{ref.name}"
        return None, (Fault("jwks.configMap.name", "RefNotFound", message),)
    text: bytes | str | None = found.data.get(ref.key)
    if text is None:
        text = found.binary_data.get(ref.key)
    if text is None:
        there = ", ".join(sorted({*found.data, *found.binary_data})[:8]) or "nothing"
        message = f"the ConfigMap {namespace}/{ref.name} has no key {ref.key!r}; it has {there}"
        return None, (Fault("jwks.configMap.key", "RefNotFound", message),)
    return _judged(text, f"{namespace}/{ref.name}/{ref.key}", "jwks.configMap")


def _judged(text: bytes | str, name: str, field: str) -> tuple[MeshKeys | None, tuple[Fault, ...]]:
    try:
        jwks = judge(text).text()
    except Unfit as unfit:
        return None, (Fault(field, "Invalid", f"no JWK Set to verify tokens with: {unfit}"),)
    if name == "inline":
        name = f"inline-{hashlib.sha256(jwks.encode()).hexdigest()[:16]}"
    return MeshKeys(id=name, jwks=jwks), ()
