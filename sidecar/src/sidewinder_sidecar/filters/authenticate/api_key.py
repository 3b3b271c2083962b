"""API keys, `swk_<id>_<secret>`: looked up by id, compared by hash, in constant time. Built by `provider`.

An unknown key costs what a known one does. Nothing is remembered: a key that the Secret does not name any more is
refused with the next request after the configuration that says so.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.filters.authenticate.verdict import INVALID, UNAVAILABLE, Refusal, Verified, Verify
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.snapshot.authentication import ApiKeyProvider, Credential
from sidewinder_sidecar.snapshot.hashed import KEY, KEY_HASH, key_hash

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.context import Context

NOBODY: Final = Credential(id="", hash="sha256:" + "0" * 64)

_INVALID: Final = Refusal(INVALID, "the API key is not valid")
_EXPIRED: Final = Refusal(INVALID, "the API key has expired")


class _Known:
    """A key as it is compared, and what is said of who has it."""

    __slots__ = ("expires", "hash", "verified")

    def __init__(self, credential: Credential) -> None:
        self.hash = credential.hash.encode()
        self.expires = credential.expires
        claims: dict[str, Any] = {**credential.metadata, "key": credential.id}
        if credential.plan:
            claims["plan"] = credential.plan
        self.verified = Verified(claims, credential.id, credential.plan)


def build(spec: ApiKeyProvider, context: Context) -> Verify:
    """Raises ValueError for a Secret that holds something else than hashes."""
    credentials = context.credentials[spec.credentials]
    known: dict[bytes, _Known] = {}
    for credential in credentials.credentials:
        if KEY_HASH.fullmatch(credential.hash) is None:
            raise ValueError(f"the API key {credential.id} has no hash of the form sha256:<64 hexadecimal digits>")
        known[credential.id.encode()] = _Known(credential)
    nobody, clock = _Known(NOBODY), context.clock
    missing = Refusal(UNAVAILABLE, "API keys cannot be checked just now") if credentials.missing else None

    def verify(call: Call, key: bytes) -> Verified | Refusal:
        if missing is not None:
            return missing
        found = KEY.fullmatch(key)
        entry = known.get(found[1], nobody) if found is not None else nobody
        if not compare_digest(key_hash(key).encode(), entry.hash) or entry is nobody:
            return _INVALID
        if entry.expires and clock() >= entry.expires:
            return _EXPIRED
        return entry.verified

    return verify
