"""Key sets of issuers: what is to be fetched, and what was. Beside what users wrote, compile works from these.

`compile/keys` says what is wanted, `issuers` fetches it, `Cluster.keys` holds it.
"""

from __future__ import annotations

import msgspec


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A key set to fetch. `issuer` is set where `address` is a discovery document, which must name that issuer."""

    id: str
    address: str
    issuer: str = ""
    seconds: float = 600.0  # how old keys may become
    ca: str = ""  # PEM; "": the system's authorities


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one. `jwks` is the last good one, "" if there never was any; `problem`: why it is not new."""

    jwks: str = ""
    problem: str = ""
