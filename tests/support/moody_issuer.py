"""An issuer of tokens that does what a test wants: good, slow, lying, endless, away; with keys that change.

The path says how its keys are published: `/slow/jwks.json` is slow, `/jwks.json` good. `token` signs what it is told,
right or wrong: it is the attacker's tool, too.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER, AUDIENCE = "https://idp.example", "bookinfo"
MOODS = ("slow", "lying", "endless", "away")
HUGE = 10_000_000  # bytes: ten times what anybody should read of a key set


class Key:
    """One signing key."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(4)
        self.private = ec.generate_private_key(ec.SECP256R1())

    def public(self) -> dict[str, Any]:
        found = jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**found, "kid": self.id, "alg": "ES256", "use": "sig"}


class Issuer:
    """`keys` are published, the last one signs. `opaque` are the tokens that it knows by themselves."""

    def __init__(self) -> None:
        self.port = 0
        self.healed = False  # whatever the mood: good again
        self.keys = [Key()]
        self.opaque: dict[str, dict[str, Any]] = {}
        self.client = ("", "")  # who may ask about opaque tokens, with which secret
        self.asked: list[str] = []  # paths
        self.release = threading.Event()

    def token(self, key: Key | None = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good, but for what is said; None takes a claim away."""
        now, signer = int(time.time()), key or self.keys[-1]
        whole: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300}
        whole |= {"scope": "reviews:read", "groups": ["members"]} | claims
        kept = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(kept, signer.private, "ES256", headers={"kid": signer.id, **(headers or {})})

    def rotate(self, keep: int = 1) -> Key:
        """Signs with a new key from now on; `keep` old ones stay published."""
        self.keys = [*self.keys[-keep:], Key()] if keep else [Key()]
        return self.keys[-1]

    def answer(self, path: str, body: bytes, authorization: str) -> tuple[int, bytes]:
        """What a question gets; the mood, which is the path's first segment, concerns the keys alone."""
        self.asked.append(path)
        if path == "/introspect":
            wanted = base64.b64encode(":".join(self.client).encode()).decode()
            if authorization != f"Basic {wanted}":
                return 401, b'{"error": "invalid_client"}'
            known = self.opaque.get(parse_qs(body.decode()).get("token", [""])[0])
            return 200, json.dumps({"active": True, "aud": AUDIENCE, **known} if known else {"active": False}).encode()
        mood = "good" if self.healed else path.split("/")[1]
        if mood == "slow":
            self.release.wait(30)
        if mood == "away":
            return 503, b"away"
        if mood == "lying":
            return 200, b"<html><title>Log in</title></html>"
        if mood == "endless":
            return 200, b'{"keys": [' + b" " * HUGE + b"]}"
        return 200, json.dumps({"keys": [key.public() for key in self.keys]}).encode()


@contextmanager
def issuer() -> Iterator[Issuer]:
    """One on a free port of loopback."""
    state = Issuer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, answer = state.answer(self.path, body, self.headers.get("authorization") or "")
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            try:
                self.wfile.write(answer)
            except OSError:
                self.close_connection = True  # who reads no more of it has had enough

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        server.server_close()
        serving.join(5)
