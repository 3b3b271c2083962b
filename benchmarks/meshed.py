"""What Sidewinder's configuration has more where mTLS or tokens are measured. Called by subjects."""

from __future__ import annotations

import credentials
import msgspec

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import authentication, policies, upstreams

WAY_IN, SERVICE, ENDPOINTS = "listener/way-in", "service/bench/all:80", "endpoints/bench/v1:80"
IDENTITIES = {"outbound": credentials.CALLER, "inbound": credentials.SERVER}


def change(kind: str, resources: snapshot.Snapshot, following: int) -> snapshot.Snapshot:
    """`outbound` calls the next proxy by mTLS, `inbound` is that one, `jwt` asks each request for a token."""
    made = dict(resources)
    if kind == "outbound":
        next_one = upstreams.EndpointSpec(
            uid="next", address="127.0.0.1", port=following, identity=str(credentials.SERVER)
        )
        made[ENDPOINTS] = msgspec.structs.replace(made[ENDPOINTS], endpoints=(next_one,))
    if kind == "inbound":
        made[WAY_IN] = msgspec.structs.replace(made[WAY_IN], direction="Inbound")
        strict = policies.PolicySpec(name="bench", mtls=policies.MtlsSpec(mode="Strict"))
        made["policy/bench"] = strict
    if kind == "jwt":
        provider = authentication.JwtProvider(
            name="idp", keys="bench", issuer=credentials.ISSUER, audiences=(credentials.AUDIENCE,)
        )
        section = authentication.AuthenticationSpec(policy="bench/jwt", providers=(provider,))
        made["policy/bench"] = policies.PolicySpec(name="bench", authentication=(section,))
        made["keys/bench"] = authentication.KeysSpec(name="bench", jwks=credentials.jwks())
    if "policy/bench" in made:
        made[SERVICE] = msgspec.structs.replace(made[SERVICE], policy="bench")
    return made
