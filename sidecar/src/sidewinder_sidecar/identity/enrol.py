"""`sidewinder-sidecar enrol`: make a key, have the operator sign it, write what it gives; then end. Run by `child`.

The request proves possession of the key, the pod's token who asks; the key never leaves the pod. Whoever answers is
verified against the mounted bundle before the token is sent. People may run it too: it says why on standard error.
"""

from __future__ import annotations

import http.client
import re
import signal
import ssl
import sys
from collections.abc import Sequence

import msgspec

from sidewinder_sidecar.identity.child import SECONDS, Outcome
from sidewinder_sidecar.identity.files import Files, read
from sidewinder_sidecar.identity.leaf import Leaf, Unfit, trusting
from sidewinder_sidecar.settings import Settings, authority, read_or_exit

ANSWER_SECONDS = 10.0  # for each step towards the answer
LARGEST_ANSWER = 1 << 20
LONGEST_WAIT = 600.0  # seconds that the operator may ask us to wait
DONE, FAILED = 0, 1

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")  # RFC 6750: what may stand after Bearer


class Enrolled(msgspec.Struct, frozen=True):
    """The operator's answer: PEM, the leaf first, and the roots that are trusted."""

    certificate: str
    bundle: str


class Refusal(msgspec.Struct, frozen=True):
    """Why not."""

    error: str = ""


class Failed(Exception):
    """It did not come about; says why, and when to ask again."""

    def __init__(self, why: str, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


def main(words: Sequence[str]) -> int:
    """The process: one JSON line on standard output, the same in words on standard error, and the exit status."""
    if words:
        sys.stderr.write(f"sidewinder-sidecar enrol: takes no arguments, not {' '.join(words)!r}\n")
        return 2
    settings = read_or_exit()
    if not settings.discovery.startswith("https:"):
        sys.stderr.write("sidewinder-sidecar enrol: SIDEWINDER_DISCOVERY is not https:, so there is no authority\n")
        return 2
    # Whatever hangs, even a name server in C, ends here: the default of the signal ends the process.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        leaf = enrol(settings)
    except (Failed, Unfit) as fault:
        outcome = Outcome(why=str(fault), retry_after=getattr(fault, "retry_after", 0.0))
    else:
        outcome = Outcome()
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    sys.stderr.write(f"enrolment failed: {outcome.why}\n" if outcome.why else f"enrolled as {leaf.spiffe_id}\n")
    return FAILED if outcome.why else DONE


def enrol(settings: Settings) -> Leaf:
    """All of it: what is written afterwards. Raises Failed or Unfit; then what was there is untouched."""
    files = Files(settings)
    token = read(settings.token).strip()
    if not _TOKEN.fullmatch(token):
        raise Unfit(f"{settings.token}: no token. Right is: a projected one for the audience sidewinder")
    context = trusting(files.mounted())
    key, request = _request()
    answer = _ask(*authority(settings.discovery), context, token, request)
    return files.replace(key, answer.certificate, answer.bundle)


def _request() -> tuple[str, str]:
    """A new P-256 key and a request signed by it; whose it is, the operator knows from the token alone."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), request.public_bytes(serialization.Encoding.PEM).decode()


def _ask(host: str, port: int, context: ssl.SSLContext, token: str, request: str) -> Enrolled:
    connection = http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=context)
    try:
        connection.request(
            "POST",
            "/enrol",
            msgspec.json.encode({"request": request}),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Connection": "close"},
        )
        response = connection.getresponse()
        body = response.read(LARGEST_ANSWER + 1)
    except ssl.SSLCertVerificationError as fault:
        raise Failed(f"{host}:{port}: the operator's certificate is not accepted: {fault.verify_message}") from None
    except TimeoutError:
        raise Failed(f"{host}:{port}: no answer within {ANSWER_SECONDS:g} s") from None
    except (OSError, http.client.HTTPException) as fault:
        why = getattr(fault, "reason", None) or getattr(fault, "strerror", None) or repr(fault)
        raise Failed(f"{host}:{port}: {why}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise _refused(response, body)
    if len(body) > LARGEST_ANSWER:
        raise Failed(f"{host}:{port}: an answer of more than {LARGEST_ANSWER >> 20} MB")
    try:
        return msgspec.json.decode(body, type=Enrolled)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Failed(f"{host}:{port}: not the answer of an operator: {fault}") from None


def _refused(response: http.client.HTTPResponse, body: bytes) -> Failed:
    try:
        why = msgspec.json.decode(body, type=Refusal).error[:1000]
    except (msgspec.DecodeError, UnicodeDecodeError):
        why = response.reason
    asked = response.headers.get("Retry-After", "")
    seconds = float(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 7 else 0.0
    return Failed(f"refused with {response.status}: {why}", min(seconds, LONGEST_WAIT))
