"""A provider of type JWT: what users wrote becomes what is meant, and that what is sent.

Asked by `compile/authentication`; asks `compile/keys` for the keys.
"""

from __future__ import annotations

from sidewinder_operator.compile import keys
from sidewinder_operator.compile.sections import Fault
from sidewinder_operator.mesh.jwt import MeshClaim, MeshForward, MeshJwt, MeshSource
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.jwt import CredentialSource, ForwardClaim, Jwt
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot.authentication import Forward, JwtProvider, RequiredClaim, Source

BEARER = MeshSource(type="Header", name="authorization", prefix="Bearer ")  # RFC 6750 section 2.1


def build(name: str, written: Jwt, namespace: str, cluster: Cluster) -> tuple[MeshJwt | None, tuple[Fault, ...]]:
    """The provider of that name; None where a fault forbids it. Faults are relative to the payload."""
    found, faults = keys.keys(written, namespace, cluster)
    if found is None:
        return None, faults
    meant = MeshJwt(
        name=name,
        keys=found,
        issuer=written.issuer,
        audiences=written.audiences,
        required_scopes=written.required_scopes,
        required_claims=tuple(MeshClaim(claim=each.claim, values=each.values) for each in written.required_claims),
        skew=seconds(written.clock_skew),
        sources=sources(written.sources) or (BEARER,),
        forward=forward(written.forward_claims),
        strip=written.strip_token,
    )
    return meant, faults


def sources(written: tuple[CredentialSource, ...]) -> tuple[MeshSource, ...]:
    """Where credentials are looked for. A token in Authorization stands behind its scheme, said or not."""
    return tuple(
        MeshSource(type=each.type, name=_name(each), prefix=BEARER.prefix if _is_bearer(each) else each.prefix or "")
        for each in written
    )


def forward(written: tuple[ForwardClaim, ...]) -> tuple[MeshForward, ...]:
    """Claims as headers."""
    return tuple(MeshForward(claim=each.claim, header=each.header.lower()) for each in written)


def _name(source: CredentialSource) -> str:
    return source.name.lower() if source.type == "Header" else source.name


def _is_bearer(source: CredentialSource) -> bool:
    return source.type == "Header" and source.name.lower() == BEARER.name and source.prefix is None


def spec(meant: MeshJwt) -> JwtProvider:
    """As sent."""
    return JwtProvider(
        name=meant.name,
        keys=meant.keys.id,
        issuer=meant.issuer,
        audiences=meant.audiences,
        required_scopes=meant.required_scopes,
        required_claims=tuple(RequiredClaim(claim=each.claim, values=each.values) for each in meant.required_claims),
        skew=meant.skew,
        sources=tuple(Source(type=each.type, name=each.name, prefix=each.prefix) for each in meant.sources),
        forward=tuple(Forward(claim=each.claim, header=each.header) for each in meant.forward),
        strip=meant.strip,
    )
