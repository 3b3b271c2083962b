"""An issuer over HTTP or HTTPS that keeps or breaks its word as told: within a test's loop, or as a process of its own.

`python -m tests.support.key_server` serves on a free port of this machine, says it as its first line, and takes orders
at POST /orders: a JSON object of the attributes of `Issuer`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

EVERYTHING_OK = "ok"


class Issuer:
    """`behaviour`: ok, html, error, big, drip, slow, redirect, gzip, away (drops the connection), empty."""

    def __init__(self) -> None:
        self.url = ""
        self.jwks = '{"keys": []}'
        self.behaviour = EVERYTHING_OK
        self.headers: dict[str, str] = {}
        self.etags = False
        self.document: dict[str, Any] = {}  # what differs in the discovery document
        self.asked: Counter[str] = Counter()
        self.not_modified = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/jwks.json", self._keys)
        application.router.add_get("/.well-known/openid-configuration", self._discovery)
        application.router.add_post("/orders", self._orders)
        application.router.add_get("/orders", self._told)
        return application

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Issuer]:
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        self.url = f"http{'s' if tls else ''}://localhost:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _orders(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            setattr(self, name, value)
        return web.Response()

    async def _told(self, request: web.Request) -> web.Response:
        return web.json_response(dict(self.asked))

    async def _discovery(self, request: web.Request) -> web.StreamResponse:
        self.asked["discovery"] += 1
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks.json", **self.document}
        return web.json_response(document)

    async def _keys(self, request: web.Request) -> web.StreamResponse:
        self.asked["jwks"] += 1
        match self.behaviour:
            case "html":
                return web.Response(text="<html>sign in with secret-word</html>", content_type="text/html")
            case "error":
                return web.Response(status=503, text="secret-word")
            case "empty":
                return web.Response()
            case "redirect":
                return web.Response(status=302, headers={"location": f"{self.url}/elsewhere"})
            case "gzip":
                return web.Response(body=b"\x1f\x8b", headers={"content-encoding": "gzip"})
            case "away":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "big" | "drip" | "slow":
                return await self._badly(request)
        etag = f'"{hashlib.sha256(self.jwks.encode()).hexdigest()[:8]}"'
        headers = {**self.headers, **({"etag": etag} if self.etags else {})}
        if self.etags and request.headers.get("if-none-match") == etag:
            self.not_modified += 1
            return web.Response(status=304, headers=headers)
        return web.Response(text=self.jwks, headers={"content-type": "application/json", **headers})

    async def _badly(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if self.behaviour == "big":
            for _ in range(160):
                await response.write(b" " * 65536)  # 10 MB in all
        while self.behaviour == "drip":
            await response.write(b" ")
            await asyncio.sleep(0.02)
        if self.behaviour == "slow":
            await asyncio.Event().wait()
        return response


async def _main() -> None:
    async with Issuer().serving() as issuer:
        sys.stdout.write(json.dumps({"url": issuer.url}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
