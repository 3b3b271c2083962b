"""Whom a peer's certificate names: a bounded reader of the few fields of an X.509 leaf that decide. Asked by `keyring`.

That the chain ends in a root of ours, OpenSSL has judged before. Sources: SPIFFE-ID sections 2.1 to 2.4 and X.509-SVID
sections 2 to 5 (one URI name, no CA, digitalSignature, no keyCertSign or cRLSign), RFC 5280 section 4, X.690 (DER).
Pure; no ASN.1 library: `cryptography` is 11 MB that a proxy would keep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Final, NamedTuple

LARGEST: Final = 16384  # bytes of a certificate; a P-256 leaf has 600
LONGEST_ID: Final = 2048  # bytes, SPIFFE-ID section 2.3
LONGEST_DOMAIN: Final = 255  # the same
MOST_EXTENSIONS: Final = 64  # a leaf of ours has 5

_ID: Final = re.compile(rb"spiffe://([a-z0-9._-]+)((?:/[A-Za-z0-9._-]+)+)").fullmatch
_DOTS: Final = re.compile(rb"/\.{1,2}(?:/|$)").search

_BOOLEAN, _BITS, _OCTETS, _OBJECT, _SEQUENCE = 0x01, 0x03, 0x04, 0x06, 0x30
_UTC_TIME, _LONG_TIME, _EXTENSIONS, _URI = 0x17, 0x18, 0xA3, 0x86
_KEY_USAGE, _NAMES, _CONSTRAINTS = b"\x55\x1d\x0f", b"\x55\x1d\x11", b"\x55\x1d\x13"  # 2.5.29.15, .17, .19
_DIGITAL_SIGNATURE, _KEY_CERT_SIGN, _CRL_SIGN = 0x80, 0x04, 0x02  # of keyUsage's first byte

_EPOCH: Final = date(1970, 1, 1).toordinal()  # counted here: the module `calendar` would hold 0.3 MB

# One element: its tag, and where its content begins and ends.
Element = tuple[int, int, int]


class Unfit(ValueError):
    """Not a certificate that may stand for somebody; says why."""


class Leaf(NamedTuple):
    """Who it is for, and when. Times are seconds since 1970."""

    spiffe_id: str
    trust_domain: str
    not_before: float
    not_after: float


def read(der: bytes) -> Leaf:
    """What a leaf says. Raises Unfit for all that is no X.509-SVID."""
    if len(der) > LARGEST:
        raise Unfit(f"the certificate is larger than {LARGEST} bytes")
    outer = _one(der, 0, len(der), _SEQUENCE)
    if outer[2] != len(der):
        raise Unfit("bytes follow the certificate")
    body = _one(der, outer[1], outer[2], _SEQUENCE)
    fields = list(_all(der, body[1], body[2]))
    if fields and fields[0][0] == 0xA0:  # the version, which a v1 certificate has not
        fields.pop(0)
    if len(fields) < 6 or fields[3][0] != _SEQUENCE:  # serial, algorithm, issuer, validity, subject, key
        raise Unfit("the certificate is not whole")
    begins, ends = _validity(der, fields[3])
    spiffe_id, domain = _judged(_extensions(der, fields))
    return Leaf(spiffe_id, domain, begins, ends)


def spiffe(uri: bytes) -> tuple[str, str]:
    """A SPIFFE ID of a workload and its trust domain, if it is written as it must be. Raises Unfit."""
    if len(uri) > LONGEST_ID:
        raise Unfit(f"the SPIFFE ID is longer than {LONGEST_ID} bytes")
    found = _ID(uri)
    if found is None or _DOTS(found[2]) or len(found[1]) > LONGEST_DOMAIN:
        raise Unfit("the name is no SPIFFE ID of a workload: spiffe://trust-domain/path")
    return uri.decode("ascii"), found[1].decode("ascii")


def _judged(extensions: dict[bytes, bytes]) -> tuple[str, str]:
    constraints = extensions.get(_CONSTRAINTS)
    if constraints is not None and _is_authority(constraints):
        raise Unfit("it is the certificate of a CA")
    usage = extensions.get(_KEY_USAGE)
    bits = _usage(usage) if usage is not None else 0
    if not bits & _DIGITAL_SIGNATURE:
        raise Unfit("its key may not sign (keyUsage digitalSignature)")
    if bits & (_KEY_CERT_SIGN | _CRL_SIGN):
        raise Unfit("its key may sign certificates or revocations, as a CA's does")
    names = extensions.get(_NAMES, b"\x30\x00")
    outer = _one(names, 0, len(names), _SEQUENCE)
    uris = [names[begin:end] for tag, begin, end in _all(names, outer[1], outer[2]) if tag == _URI]
    if len(uris) != 1:
        raise Unfit(f"it has {len(uris)} URIs among its names; a SPIFFE ID alone is right")
    return spiffe(uris[0])


# ASN.1, as far as it is needed.


def _element(der: bytes, at: int, limit: int) -> Element:
    """The element at `at`, which ends at `limit` at the latest. Lengths are definite and as short as can be."""
    if at + 2 > limit:
        raise Unfit("the certificate is cut off")
    tag, size, begin = der[at], der[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise Unfit("the certificate has a tag that none has")
    if size >= 0x80:
        count = size & 0x7F
        if not 1 <= count <= 3 or begin + count > limit:
            raise Unfit("the certificate has a length that none has")
        size = int.from_bytes(der[begin : begin + count], "big")
        begin += count
        if size < 0x80 or size >> 8 * (count - 1) == 0:
            raise Unfit("the certificate is not DER")
    if begin + size > limit:
        raise Unfit("the certificate is cut off")
    return tag, begin, begin + size


def _one(der: bytes, at: int, limit: int, tag: int) -> Element:
    found = _element(der, at, limit)
    if found[0] != tag:
        raise Unfit("the certificate is not made as one")
    return found


def _all(der: bytes, at: int, limit: int) -> Iterator[Element]:
    while at < limit:
        found = _element(der, at, limit)
        yield found
        at = found[2]


def _validity(der: bytes, field: Element) -> tuple[float, float]:
    times = [_time(tag, der[begin:end]) for tag, begin, end in _all(der, field[1], field[2])]
    if len(times) != 2:
        raise Unfit("the certificate has no validity")
    return times[0], times[1]


def _time(tag: int, text: bytes) -> float:
    """RFC 5280 section 4.1.2.5: UTC, to the second; two digits of a year stand for 1950 to 2049."""
    if tag == _UTC_TIME and len(text) == 13:
        text = (b"19" if text[:2] >= b"50" else b"20") + text
    elif tag != _LONG_TIME:
        text = b""
    if len(text) != 15 or text[14:] != b"Z" or not text[:14].isdigit():
        raise Unfit("the certificate has a time that cannot be read")
    year, rest = int(text[:4]), [int(text[at : at + 2]) for at in range(4, 14, 2)]
    month, day, hour, minute, second = rest
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60 and year):
        raise Unfit("the certificate has a time that cannot be read")
    days = date(year, month, 1).toordinal() - _EPOCH + day - 1
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)


def _extensions(der: bytes, fields: list[Element]) -> dict[bytes, bytes]:
    """Object identifier → value. None stands twice (RFC 5280 section 4.2)."""
    found: dict[bytes, bytes] = {}
    for tag, begin, end in fields[6:]:
        if tag != _EXTENSIONS:
            continue
        listed = _one(der, begin, end, _SEQUENCE)
        for number, (kind, first, last) in enumerate(_all(der, listed[1], listed[2])):
            if kind != _SEQUENCE or number >= MOST_EXTENSIONS:
                raise Unfit("the certificate's extensions cannot be read")
            parts = list(_all(der, first, last))
            tags = [part[0] for part in parts]
            if tags not in ([_OBJECT, _OCTETS], [_OBJECT, _BOOLEAN, _OCTETS]):
                raise Unfit("the certificate's extensions cannot be read")
            name = der[parts[0][1] : parts[0][2]]
            if name in found:
                raise Unfit("the certificate has an extension twice")
            found[name] = der[parts[-1][1] : parts[-1][2]]
    return found


def _is_authority(value: bytes) -> bool:
    outer = _one(value, 0, len(value), _SEQUENCE)
    return any(tag == _BOOLEAN and value[begin:end] != b"\0" for tag, begin, end in _all(value, outer[1], outer[2]))


def _usage(value: bytes) -> int:
    """The first eight bits."""
    _, begin, end = _one(value, 0, len(value), _BITS)
    return value[begin + 1] if end - begin >= 2 else 0
