"""Replicas of the operator as processes of their own, and sidecars that are nothing but a discovery stream.

Called by tests/cluster/test_operator_peers.py. The API server is the cluster's, TLS and certificates are real: a leaf
for each pod is signed here with the CA's own key, since enrolment is tested elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import os
import socket
import ssl
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.sign import Identity, leaf
from sidewinder_operator.main.neighbours import SERVICE
from sidewinder_operator.settings import Settings
from sidewinder_sidecar.discovery.dial import Streams
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.snapshot import Resource
from tests.cluster.support.operator import found
from tests.support.enrolment import trusting
from tests.support.operators import free_port

ROOT = Path(__file__).parents[3]


class Replica:
    """One process, and its ports."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.health, self.port = free_port(), free_port()
        self.settings = msgspec.structs.replace(
            settings, health_port=self.health, discovery_port=self.port, address="0.0.0.0"
        )
        self.name = self.settings.pod_name
        self._log = folder / f"{self.name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {
            f"SIDEWINDER_{name.upper()}": str(value)
            for name, value in msgspec.structs.asdict(self.settings).items()
            if value != ""
        }
        paths = os.pathsep.join(str(ROOT / part) for part in ("operator/src", "sidecar/src"))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sidewinder_operator.main",
                env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, **environment}, stdout=log, stderr=log,
            )  # fmt: skip
        await found(self.is_ready, 60)

    async def is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self._log.read_text()[-3000:]
        with contextlib.suppress(OSError):
            await self.page("readyz")
            return True
        return False

    async def is_leading(self) -> bool:
        return bool(msgspec.json.decode(await self.page("leadz"))["leading"])

    async def page(self, path: str) -> str:
        def get() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/{path}", timeout=5) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(get)

    async def kill(self) -> None:
        """At once, as when its node loses power."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """In good order."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        await asyncio.wait_for(self._process.wait(), 30)


def our_address(api_server: str) -> str:
    """Where the cluster reaches this machine: an EndpointSlice names no loopback address."""
    url = urlsplit(api_server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((url.hostname, url.port or 443))
        return str(probe.getsockname()[0])


async def announce(api: ApiServer, namespace: str, replica: Replica, address: str, port: int = 0) -> None:
    """The replica stands in the operator's own endpoints, at its own port or another one."""
    target = {"kind": "Pod", "namespace": namespace, "name": replica.name, "uid": f"uid-{replica.name}"}
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": f"peers-{replica.name}", "labels": {"kubernetes.io/service-name": SERVICE}},
        "endpoints": [{"addresses": [address], "conditions": {"serving": True}, "targetRef": target}],
        "ports": [{"name": "discovery", "port": port or replica.port, "protocol": "TCP"}],
    }
    await api.send("POST", slices(namespace), body)


def slices(namespace: str) -> str:
    return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"


class Sidecar:
    """A pod's discovery client; what it is told, it has."""

    def __init__(self, context: ssl.SSLContext, server: str) -> None:
        self.port = 0
        self._context = context
        self._server = server
        self.applied = 0
        self.discovery = Discovery(self, self._apply, build="test")

    async def _apply(self, resources: dict[str, Resource]) -> None:
        self.applied += 1

    # the way to the operator
    async def ready(self) -> None:
        """At once."""

    async def connect(self) -> Streams:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, limit=65536, ssl=self._context, server_hostname=self._server
        )

    def on_refused(self, why: str) -> None:
        """There is no other certificate."""

    @contextlib.asynccontextmanager
    async def running(self, replica: Replica) -> AsyncIterator[Sidecar]:
        self.port = replica.port
        task = asyncio.create_task(self.discovery.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def sidecar(api: ApiServer, system: str, namespace: str, uid: str) -> Sidecar:
    """One with a certificate of the CA in `system`, for the pod `uid` of the service account default."""
    secret = await api.get(f"/api/v1/namespaces/{system}/secrets/sidewinder-ca")
    now = dt.datetime.now(dt.UTC)
    trust = roots.load({name: base64.b64decode(text) for name, text in secret["data"].items()}, now)
    key = ec.generate_private_key(ec.SECP256R1())
    identity = Identity("cluster.local", namespace, "default", uid)
    chain = roots.pem(leaf(key.public_key(), identity, trust, now)).decode()
    return Sidecar(trusting(trust.pem().decode(), chain, key), f"sidewinder-operator.{system}.svc")
