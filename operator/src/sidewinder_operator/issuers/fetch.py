"""One fetch of an issuer's keys, by a JWKS address or by OpenID Connect discovery. Called by `keeper`.

An issuer is a stranger: it may be slow, lie, send a page, ten megabytes or somebody else's document. What comes of that
is `Unavailable` with the reason, and never more than LARGEST bytes or PATIENCE seconds. Redirects are not followed, no
cookie, proxy or compression is taken, and nothing of an answer gets into a message.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from sidewinder_operator.resources.jwt import is_secure
from sidewinder_operator.resources.keys import Wanted
from sidewinder_sidecar.snapshot.jwks import LARGEST, Unfit, judge

PATIENCE = 5.0  # seconds for one answer, from the look-up of the name to the last byte
LARGEST_DOCUMENT = 1 << 18  # bytes of a discovery document; the largest known have 10 KB
HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Unavailable(Exception):
    """There are no new keys; says why."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an issuer said. `jwks` is "" when what is held is still right. `headers` by lower-case names."""

    jwks: str
    address: str  # where the keys are
    etag: str = ""
    headers: Mapping[str, str] = {}
    passed_over: tuple[str, ...] = ()


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What is held: an issuer is asked whether it is still right."""

    address: str = ""
    etag: str = ""


class Fetcher:
    """Asks. `loopback`: whether this machine may be asked, which is for local mode."""

    def __init__(self, *, loopback: bool = False, patience: float = PATIENCE) -> None:
        self._loopback = loopback
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Ends all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, wanted: Wanted, before: Before) -> Answer:
        """The keys. Raises Unavailable."""
        trust = _trust(wanted.ca)
        address = await self._discover(wanted, trust) if wanted.issuer else wanted.address
        etag = before.etag if before.address == address else ""
        status, headers, body = await self._get(address, trust, LARGEST, etag)
        if status == 304 and etag:
            return Answer(jwks="", address=address, etag=etag, headers=headers)
        if status != 200:
            raise Unavailable(f"{address} answers {status}{_moved(status)}")
        try:
            found = judge(body)
        except Unfit as unfit:
            raise Unavailable(f"{address} gives no JWK Set to verify tokens with: {unfit}") from None
        kept = headers.get("etag", "")
        return Answer(
            jwks=found.text(),
            address=address,
            etag=kept if len(kept) <= 256 and kept.isascii() and kept.isprintable() else "",
            headers=headers,
            passed_over=found.passed_over,
        )

    async def _discover(self, wanted: Wanted, trust: ssl.SSLContext | bool) -> str:
        """Where the keys are, by the issuer's own word: OpenID Connect Discovery 1.0 section 4.3."""
        status, _, body = await self._get(wanted.address, trust, LARGEST_DOCUMENT, "")
        if status != 200:
            raise Unavailable(f"{wanted.address} answers {status}{_moved(status)}")
        try:
            document: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Unavailable(f"{wanted.address} is no JSON object")
        if document.get("issuer") != wanted.issuer:
            raise Unavailable(f"{wanted.address} is of another issuer than {wanted.issuer}")
        address = document.get("jwks_uri")
        if not isinstance(address, str) or not is_secure(address):
            raise Unavailable(f"{wanted.address} has no jwks_uri with https")
        if wanted.address.startswith("https:") and not address.startswith("https:"):
            raise Unavailable(f"{wanted.address} leads from https to http")
        return address

    async def _get(
        self, address: str, trust: ssl.SSLContext | bool, most: int, etag: str
    ) -> tuple[int, dict[str, str], bytes]:
        self._check(address)
        headers = {**HEADERS, "If-None-Match": etag} if etag else HEADERS
        timeout = aiohttp.ClientTimeout(total=self._patience)
        try:
            async with self._opened().get(
                address, headers=headers, ssl=trust, allow_redirects=False, timeout=timeout
            ) as response:
                told = {name.lower(): value for name, value in response.headers.items()}
                if response.status != 200:
                    return response.status, told, b""
                if told.get("content-encoding", "identity").lower() != "identity":
                    raise Unavailable(f"{address} answers compressed, which was not asked for")
                return 200, told, await _body(response, address, most)
        except TimeoutError:
            raise Unavailable(f"{address} has not answered within {self._patience:g} s") from None
        except aiohttp.ClientConnectorCertificateError as fault:
            why = getattr(fault.certificate_error, "verify_message", "") or type(fault.certificate_error).__name__
            raise Unavailable(f"{address}: its certificate is not accepted: {why}") from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise Unavailable(f"{address} cannot be asked: {_why(fault)}") from None

    def _check(self, address: str) -> None:
        host = urlsplit(address).hostname or ""
        if not self._loopback and (host in LOOPBACK or host.startswith("127.") or address.startswith("http:")):
            raise Unavailable(f"{address} is on this machine: in a cluster that is nobody's issuer")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=16, force_close=True),  # minutes lie between two questions
                auto_decompress=False,
                headers={"User-Agent": "sidewinder-operator"},
            )
        return self._session


async def _body(response: aiohttp.ClientResponse, address: str, most: int) -> bytes:
    found = bytearray()
    async for piece in response.content.iter_any():
        found += piece
        if len(found) > most:
            raise Unavailable(f"{address} sends more than {most >> 10} KB")
    return bytes(found)


def _trust(pem: str) -> ssl.SSLContext | bool:
    if not pem:
        return True
    try:
        return ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise Unavailable("ca holds no certificate in PEM") from None


def _moved(status: int) -> str:
    return ": redirects are not followed, write where it leads to" if 300 <= status < 400 else ""


def _why(fault: Exception) -> str:
    """A reason without anything that the other side has sent."""
    inner = getattr(fault, "os_error", None) or fault
    return getattr(inner, "strerror", None) or type(fault).__name__
