"""Who we are to other proxies, and who they are to us: one per process, asked by both sides of the data path.

main gives it what `identity` has on disk (`renew`) and calls `sweep` once a second; `downstream` and `upstream` ask for
contexts, have peers judged and tell how handshakes went. What lives under a certificate ends with it, on both sides: a
connection is drained when its own or its peer's certificate has ended, and cut GRACE_SECONDS later.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from sidewinder_sidecar.tls import certificate, contexts
from sidewinder_sidecar.tls.certificate import Leaf
from sidewinder_sidecar.tls.contexts import Credentials

log = logging.getLogger("sidewinder.tls")

GRACE_SECONDS: Final = 3.5  # for what runs when a certificate ends; with the second of a sweep it is gone within 5 s
LEAD_SECONDS: Final = 2.0  # that callers stop before those whom they call, who would close under a request; two sweeps
REMEMBERED: Final = 4096  # peers' certificates, 500 bytes each: a mesh of 2 000 proxies calls from as many
OUTSIDE: Final = 16  # contexts for hosts outside, 100 KB each with the system's roots; a mesh has a few issuers
REFUSED: Final = "refused"  # by the other side: our certificate
LOG_SECONDS: Final = 1.0  # of each kind of failed handshake, one line

Side = str  # "server" where we were called, "client" where we call


class Line(Protocol):
    """An open connection over TLS."""

    watcher: Any  # whom it tells that it is closed

    def drain(self) -> None: ...
    def break_off(self) -> None: ...


class Term(NamedTuple):
    """How long a connection may last: `ends` in seconds since 1970; `epoch` of ours it was opened with, 0 for any."""

    ends: float
    epoch: int


class Refused(Exception):
    """The peer is nobody we talk to; `result` is what is counted."""

    def __init__(self, result: str, detail: str) -> None:
        super().__init__(detail)
        self.result = result
        self.detail = detail


class Keyring:
    """`credentials` is None as long as there is no certificate: nothing is said over TLS then, and nothing instead."""

    __slots__ = ("_known", "_outside", "_quiet", "counted", "credentials", "epoch", "lines", "now", "pending")

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.credentials: Credentials | None = None
        self.epoch = 0
        self.pending = 0  # handshakes of callers that run
        self.lines: dict[Any, Term] = {}  # the open connections over TLS
        self.counted: dict[tuple[Side, str], int] = {}
        self._known: OrderedDict[bytes, Leaf] = OrderedDict()  # by SHA-256, least recently used first
        self._outside: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._quiet: dict[tuple[Side, str], float] = {}

    # 1. Who we are.

    def renew(self, pair: tuple[str, str], bundle: str) -> None:
        """Show another certificate, or trust other roots, from the next handshake on. Raises Unfit, OSError."""
        self.credentials = Credentials(pair, bundle, self.epoch + 1)
        self.epoch += 1

    @property
    def usable(self) -> Credentials | None:
        """What peers would take now; None if there is none or its time is over."""
        found = self.credentials
        return found if found is not None and found.not_before <= self.now() < found.not_after else None

    def outside(self, trust: str) -> ssl.SSLContext:
        """For a host that is none of ours. Raises ssl.SSLError for roots that are none."""
        found = self._outside.get(trust)
        if found is None:
            if len(self._outside) >= OUTSIDE:
                self._outside.popitem(last=False)
            self._outside[trust] = found = contexts.outside(trust)
        self._outside.move_to_end(trust)
        return found

    # 2. Who they are.

    def judge(self, transport: Any) -> Leaf:
        """Whom the other end of an established connection stands for. Raises Refused."""
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(True) if tls is not None else None
        if not der:
            raise Refused("no_certificate", "the peer has shown no certificate")
        ours, now = self.usable, self.now()
        if ours is None:
            raise Refused("own_expired", "our own certificate's time is over")
        leaf = self._read(der)
        if not leaf.not_before <= now < leaf.not_after:
            raise Refused("expired", f"the time of {leaf.spiffe_id}'s certificate is over")
        if leaf.trust_domain != ours.trust_domain:
            raise Refused("trust_domain", f"{leaf.spiffe_id} is of another trust domain than {ours.trust_domain}")
        return leaf

    def _read(self, der: bytes) -> Leaf:
        digest = hashlib.sha256(der).digest()
        leaf = self._known.get(digest)
        if leaf is not None:
            self._known.move_to_end(digest)
            return leaf
        try:
            leaf = certificate.read(der)
        except certificate.Unfit as fault:
            raise Refused("certificate", str(fault)) from None
        if len(self._known) >= REMEMBERED:
            self._known.popitem(last=False)
        self._known[digest] = leaf
        return leaf

    # 3. What is open.

    def watch(self, line: Line, leaf: Leaf | None, epoch: int = 0) -> None:
        """A connection is open until it tells `forget`, but no longer than both certificates hold; one that we have
        opened, at `epoch`, is not kept for more requests than it has once ours is renewed.
        """
        ours = self.credentials
        line.watcher = self
        ends = min(leaf.not_after, ours.not_after) if leaf is not None and ours is not None else inf
        self.lines[line] = Term(ends, epoch)

    def pass_on(self, line: Line, heir: Line) -> None:
        """Another connection goes on with its transport."""
        heir.watcher = self
        self.lines[heir] = self.lines.pop(line, Term(inf, 0))

    def forget(self, line: Line) -> None:
        """It is closed."""
        self.lines.pop(line, None)

    def sweep(self) -> None:
        """Once a second: end what has outlived a certificate."""
        now = self.now()
        for line, (ends, epoch) in list(self.lines.items()):
            if now >= ends + GRACE_SECONDS:
                line.break_off()
            elif now >= ends or (epoch and (epoch != self.epoch or now >= ends - LEAD_SECONDS)):
                line.drain()

    # 4. How it goes.

    def count(self, side: Side, result: str) -> None:
        """One handshake."""
        key = (side, result)
        self.counted[key] = self.counted.get(key, 0) + 1

    def failed(self, side: Side, result: str, who: str, detail: str) -> None:
        """One that came to nothing: counted, and told unless the same was told this second."""
        self.count(side, result)
        now = time.monotonic()
        if now >= self._quiet.get((side, result), 0.0):
            self._quiet[side, result] = now + LOG_SECONDS
            log.warning("TLS with %s failed (%s): %s", who, result, detail)

    def __repr__(self) -> str:
        return f"<Keyring {self.credentials!r}, {len(self.lines)} lines>"


def failure(error: BaseException) -> tuple[str, str]:
    """What is counted and what is told of a handshake that OpenSSL or the peer has ended."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        return _VERIFIED.get(code, "untrusted"), error.verify_message or "the peer's certificate is not valid"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _REASONS.get(reason, "protocol"), reason.lower().replace("_", " ") or str(error)
    if isinstance(error, ConnectionAbortedError):
        return "timeout", "the handshake took too long"
    return "cut", "the peer closed the connection"


_VERIFIED: Final = {9: "not_yet_valid", 10: "expired"}  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "UNSUPPORTED_PROTOCOL": "version",
    "UNSUPPORTED_PROTOCOL_VERSION": "version",
    "VERSION_TOO_LOW": "version",
    "TLSV1_ALERT_PROTOCOL_VERSION": "version",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": REFUSED,
    "TLSV1_ALERT_UNKNOWN_CA": REFUSED,
    "SSLV3_ALERT_BAD_CERTIFICATE": REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": REFUSED,
}
