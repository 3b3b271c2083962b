"""A small client of the Kubernetes API on the standard library alone.

Called by the supervisor, the load balancer controller and `up`, which must stay small or run before anything else
is there; tests use the `kubernetes` package instead. Calls no module of the bed.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Refused(OSError):
    """The API server answered with an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}: {text[:300]}")
        self.status = status


class Api:
    """Requests to one API server, each on a connection of its own, so that a restart in between does no harm."""

    def __init__(self, server: str, authority: Path, token: str = "") -> None:
        self._host = urlsplit(server).netloc
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    @classmethod
    def from_kubeconfig(cls, path: Path, authority: Path) -> Api:
        """The bed writes its kubeconfigs as JSON, which is YAML too."""
        config = json.loads(path.read_text())
        return cls(config["clusters"][0]["cluster"]["server"], authority, config["users"][0]["user"]["token"])

    def text(self, path: str, method: str = "GET", body: Any = None, seconds: float = 5) -> str:
        headers = dict(self._headers)
        if body is not None:
            kind = "merge-patch+json" if method == "PATCH" else "json"
            headers["Content-Type"] = f"application/{kind}"
        connection = http.client.HTTPSConnection(self._host, timeout=seconds, context=self._tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status >= 300:
            raise Refused(response.status, text)
        return text

    def get(self, path: str) -> Any:
        return json.loads(self.text(path))

    def ready(self) -> bool:
        """Ready, not only listening: what is refused now backs off for seconds."""
        try:
            return self.text("/readyz", seconds=1) == "ok"
        except (OSError, http.client.HTTPException):
            return False
