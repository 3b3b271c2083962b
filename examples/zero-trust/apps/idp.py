"""An issuer of tokens, as small as one can be: `idp.py PORT`. For this example; its tokens are for whoever asks.

`GET /token?sub=ada&groups=members&scope=reviews:read` makes a JWT (ES256, five minutes). `/jwks.json` has the key for
it, made at the start, `POST /introspect` says of opaque tokens what RFC 7662 wants; the one it knows is
`opaque-for-bob`.
Only the standard library: P-256 is forty lines of arithmetic, slow and not safe against whoever measures it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlsplit

ISSUER = "https://idp.example"
CLIENT = "Basic " + base64.b64encode(b"reviews:a-secret-of-this-example").decode()  # who may ask /introspect
OPAQUE = {"opaque-for-bob": {"sub": "bob", "scope": "reviews:read", "groups": ["members"]}}

# P-256 (FIPS 186-4, D.1.2.3): the field's prime, the group's order, and the point that everything is a multiple of.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int] | None


def add(one: Point, other: Point) -> Point:
    """The sum of two points of the curve y² = x³ - 3x + b; None is the point at infinity."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def times(number: int, point: Point) -> Point:
    """The point, added to itself so often."""
    found: Point = None
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def text(raw: bytes) -> str:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


SECRET = secrets.randbelow(N - 1) + 1
PUBLIC = times(SECRET, G)
KEY_ID = secrets.token_hex(4)
assert PUBLIC is not None
JWKS = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-256",
            "alg": "ES256",
            "use": "sig",
            "kid": KEY_ID,
            "x": text(PUBLIC[0].to_bytes(32, "big")),
            "y": text(PUBLIC[1].to_bytes(32, "big")),
        }
    ]
}


def token(asked: dict[str, str]) -> str:
    """A signed token with what was asked for. `groups` is a list, by commas; `seconds` is how long it holds."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": "bookinfo",
        "iat": now,
        "exp": now + int(asked.pop("seconds", 300)),
    }
    claims |= asked
    if "groups" in asked:
        claims["groups"] = asked["groups"].split(",")
    parts = ({"alg": "ES256", "typ": "JWT", "kid": KEY_ID}, claims)
    signed = ".".join(text(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    digest = int.from_bytes(hashlib.sha256(signed.encode()).digest(), "big")
    number = secrets.randbelow(N - 1) + 1
    point = times(number, G)
    assert point is not None
    r = point[0] % N
    s = pow(number, -1, N) * (digest + r * SECRET) % N
    return f"{signed}.{text(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Issuer(BaseHTTPRequestHandler):
    """Three pages."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        if place.path == "/token":
            self.answer(200, {"access_token": token(dict(parse_qsl(place.query)))})
        elif place.path == "/jwks.json":
            self.answer(200, JWKS)
        else:
            self.answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers.get("content-length") or 0)).decode())
        if self.path != "/introspect":
            self.answer(404, {"error": "not_found"})
        elif self.headers.get("authorization") != CLIENT:
            self.answer(401, {"error": "invalid_client"})
        else:
            known = OPAQUE.get(asked.get("token", [""])[0])
            told = (
                {"active": True, "exp": int(time.time()) + 300, "aud": "bookinfo", **known}
                if known
                else {"active": False}
            )
            self.answer(200, told)

    def answer(self, status: int, told: object) -> None:
        raw = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """Queries and headers are nobody's business."""


if __name__ == "__main__":
    if "PORT" in os.environ:  # its sidecar's; the operator and the proxies ask the fixed one
        own = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Issuer)
        threading.Thread(target=own.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Issuer).serve_forever()
