"""How API keys and passwords are kept, so that who reads the Secret cannot use them. No secret is in any message.

The operator refuses what is kept in another way; the sidecar's filters compare. Imports nothing of ours.
"""

from __future__ import annotations

import re
from base64 import b64decode
from hashlib import scrypt, sha256
from hmac import compare_digest
from typing import Final, NamedTuple

# `swk_<id>_<secret>`: 10 letters of base32 are a name of 50 bits; 52 are a secret of 256 bits, for which one SHA-256 is
# all that its hash needs. Slow hashes are for what people think up.
KEY: Final = re.compile(rb"swk_([a-z2-7]{10})_[a-z2-7]{52}")
KEY_ID: Final = re.compile("[a-z2-7]{10}")
KEY_HASH: Final = re.compile("sha256:[0-9a-f]{64}")

MOST_MEMORY: Final = 32 << 20  # of checking one password: a proxy's container has little more to spare
MOST_ROUNDS: Final = 16
LONGEST_NAME: Final = 256  # of a user

_PHC: Final = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)


def key_hash(key: bytes) -> str:
    """An API key as it is kept."""
    return f"sha256:{sha256(key).hexdigest()}"


class Password(NamedTuple):
    """A password as it is kept: scrypt's parameters (RFC 7914), salt and hash."""

    cost: int  # the binary logarithm of scrypt's N
    block: int
    rounds: int
    salt: bytes
    hash: bytes

    def fits(self, password: bytes) -> bool:
        """Whether this is the password. Slow, as it is meant to be."""
        return compare_digest(self.made(password), self.hash)

    def made(self, password: bytes) -> bytes:
        """What these parameters make of a password."""
        return scrypt(
            password,
            salt=self.salt,
            n=1 << self.cost,
            r=self.block,
            p=self.rounds,
            maxmem=MOST_MEMORY + (1 << 20),  # what OpenSSL counts beside the big block
            dklen=len(self.hash),
        )


# OWASP's third choice for scrypt: 16 MB and 0.2 s. Its first needs 128 MB, more than a sidecar has.
COST: Final = 14
BLOCK: Final = 8
ROUNDS: Final = 5


def password(text: str) -> Password:
    """A PHC string of scrypt, read. Raises ValueError."""
    found = _PHC.fullmatch(text)
    if found is None:
        raise ValueError("a password is kept as $scrypt$ln=14,r=8,p=5$<salt>$<hash>")
    cost, block, rounds = int(found[1]), int(found[2]), int(found[3])
    if not 10 <= cost <= 20 or not 1 <= rounds <= MOST_ROUNDS or not block or 128 * block << cost > MOST_MEMORY:
        raise ValueError(f"scrypt's parameters may need {MOST_MEMORY >> 20} MB at most; ln=14,r=8,p=5 needs 16")
    return Password(cost, block, rounds, _unpadded(found[4]), _unpadded(found[5]))


def _unpadded(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)
