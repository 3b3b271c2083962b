"""How the API server is asked: one HTTP session, the token read anew from its file, JSON by msgspec, refusals as data.

Called by `watch`, `authority` and `main` (which hands `send` to `status`); calls aiohttp. It retries nothing and keeps
nothing: who asks knows what a failure means.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_SECONDS = 10.0  # an address that does not answer; the kernel alone would take two minutes
ANSWER_SECONDS = 30.0  # a whole answer that is no watch; the API server itself gives up after 60
USER_AGENT = "sidewinder-operator"
JSON = "application/json"
APPLY = "application/apply-patch+yaml"  # server-side apply; JSON is YAML
MERGE = "application/merge-patch+json"


class Refused(Exception):
    """The API server answered, and not with success. `reason` is that of metav1.Status, such as NotFound."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason


# What asking may end with when nothing is wrong with this program: the network, the server, the time.
FAILURES = (aiohttp.ClientError, TimeoutError, OSError, Refused, msgspec.DecodeError)


class ApiServer:
    """One API server. `token_file` may change at any time: bound tokens are renewed about every hour."""

    def __init__(self, server: str, *, token_file: Path | None = None, authority: Path | None = None) -> None:
        self.server = server.rstrip("/")
        self._token_file = token_file
        self._authority = authority
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<ApiServer {self.server}>"

    async def close(self) -> None:
        """Ends all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], patience: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A GET whose answer is read as it comes. Who leaves before its end drops the connection.

        A farewell in TLS would wait half a minute for an API server that does not answer it, and keep this process
        from ending.
        """
        async with self._opened().get(
            self.server + path, params=query, timeout=patience, headers=self._headers()
        ) as response:
            try:
                yield response
            finally:
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer as builtins. Raises one of FAILURES."""
        return msgspec.json.decode(await self.send("GET", path, query=query))

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = JSON,
        seconds: float = ANSWER_SECONDS,
    ) -> bytes:
        """One request, and its answer whole. Raises one of FAILURES."""
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        headers = self._headers()
        data = None
        if body is not None:
            headers["Content-Type"] = kind
            data = msgspec.json.encode(body)
        async with self._opened().request(
            method, self.server + path, params=query, data=data, headers=headers, timeout=timeout
        ) as response:
            answer = await response.read()
            if response.status >= 300:
                raise refusal(response.status, answer)
            return answer

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        return headers

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls: ssl.SSLContext | bool = True
            if self._authority is not None:
                tls = ssl.create_default_context(cafile=str(self._authority))
            # One connection a watch and a few for the rest: no limit of its own may make a lease wait for a list.
            connector = aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


def refusal(status: int, answer: bytes) -> Refused:
    """What the API server's answer says, which is a metav1.Status, or a proxy's page in between."""
    try:
        told = msgspec.json.decode(answer, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = _Status(message=answer[:200].decode("utf-8", "replace").strip())
    return Refused(status, told.reason, told.message or "no reason was given")
