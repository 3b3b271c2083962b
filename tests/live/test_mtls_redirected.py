"""mTLS at a pod behind the real redirect rules: every port, declared or not, HTTP or not, under each mode.

The pod and the world are network namespaces; the world calls with a certificate of the mesh, without one, and with the
application's own TLS.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from sidewinder_operator.authority import root as roots
from tests.live.test_interception import POD, banner, echo, http, listener, serve, service
from tests.support import identities
from tests.support.authority import DOMAIN, now
from tests.support.identities import H1, TCP, named
from tests.support.namespaces import UID, Namespace, capture, get, link, namespace, needed, proxy
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.live

WEB, MAIL, OWN_TLS, METRICS, UNDECLARED = 8080, 2525, 8443, 9090, 7777
WORDS = b"not http at all\r\n"


class World(NamedTuple):
    """Who calls, whom, and what both trust."""

    pod: Namespace
    outside: Namespace
    identity: Path  # of the caller
    server: Path  # of the pod's sidecar
    own: Path  # the application's own certificate, of nobody's mesh


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    needed()
    folder = tmp_path_factory.mktemp("identities")
    mesh, stranger = roots.Trust(roots.create(DOMAIN, now())), roots.Trust(roots.create("elsewhere", now()))
    own = identities.identity(folder / "own", stranger, named("web", domain="elsewhere"))
    with TemporaryDirectory() as shared, ExitStack() as stack:
        Path(shared).chmod(0o755)
        server = identities.identity(Path(shared) / "server", mesh, named("web"))
        for path in (server, *server.iterdir()):
            os.chown(path, UID, UID)
        pod, outside = stack.enter_context(namespace()), stack.enter_context(namespace())
        link(pod, outside)
        capture(pod)
        handlers = {WEB: http, METRICS: http, MAIL: banner, UNDECLARED: echo, OWN_TLS: tls(own)}
        for port, handle in handlers.items():
            serve(stack.enter_context(pod.listen(POD, port)), handle)
        yield World(pod, outside, identities.identity(folder / "caller", mesh, named("shop")), server, own)


def tls(folder: Path) -> Callable[[socket.socket], None]:
    """An application that speaks TLS of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as own:
            own.sendall(b"own:" + own.recv(1000))

    return handle


def snapshot(mode: str) -> dict[str, object]:
    policy = {"name": "p", "mtls": {"mode": mode, "except_ports": [METRICS], "policy": "shop/zero-trust"}}
    ports = (WEB, MAIL, OWN_TLS, METRICS)
    behind: dict[str, object] = {}
    for port in ports:
        behind |= service(f"inbound-{port}", port, [], (POD, port), policy="p")
    return {
        "proxy/self": {"name": "web-1", "namespace": "shop"},
        "policy/p": policy,
        **listener("inbound", "Inbound", 15006, [f"inbound-{port}" for port in ports], policy="p"),
        **behind,
    }


@pytest.fixture(scope="module", params=["Permissive", "Audit", "Strict"])
def mesh(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, World, Sidecar]]:
    """A sidecar with one mode."""
    folder = tmp_path_factory.mktemp("sidecar")
    with proxy(world.pod, folder, snapshot(request.param), IDENTITY=str(world.server)) as sidecar:
        yield request.param, world, sidecar
        assert "bug" not in sidecar.errors.read_text()


Mesh = tuple[str, World, Sidecar]


def said(connection: socket.socket, words: bytes) -> bytes:
    """What comes back first; b"" where the connection is closed, or nothing comes."""
    with connection:
        try:
            if words:
                connection.sendall(words)
            return connection.recv(65536)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            return b""


def proved(world: World, port: int, alpn: str) -> ssl.SSLSocket:
    context = identities.client(world.identity, world.identity, (alpn,))
    return context.wrap_socket(world.outside.connect(POD, port), server_hostname="x")


def counted(sidecar: Sidecar, world: World, action: str) -> int:
    port = sidecar.port("probe")
    text = get(world.pod.connect("127.0.0.1", port), b"/metrics").decode()
    wanted = f'sidewinder_policy_decisions_total{{kind="mtls",action="{action}",policy="shop/zero-trust"}} '
    return next((int(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted)), 0)


def test_http_without_a_certificate(mesh: Mesh) -> None:
    mode, world, sidecar = mesh
    before = counted(sidecar, world, "Audit"), counted(sidecar, world, "Deny")
    answer = get(world.outside.connect(POD, WEB), b"/admin")
    assert answer.startswith(b"HTTP/1.1 403 " if mode == "Strict" else b"HTTP/1.1 200 ")
    assert (b"mTLS is required" in answer) == (mode == "Strict")
    assert b"zero-trust" not in answer
    after = counted(sidecar, world, "Audit"), counted(sidecar, world, "Deny")
    assert (after[0] - before[0], after[1] - before[1]) == (int(mode == "Audit"), int(mode == "Strict"))


@pytest.mark.parametrize("port", [WEB, METRICS])
def test_http_with_a_certificate(mesh: Mesh, port: int) -> None:
    _, world, _ = mesh
    request = b"GET /a HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    assert said(proved(world, port, H1), request).startswith(b"HTTP/1.1 200 ")


def test_a_port_that_is_left_out_is_anybodys(mesh: Mesh) -> None:
    _, world, _ = mesh
    assert get(world.outside.connect(POD, METRICS), b"/metrics").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("port", "words", "answer"), [(MAIL, b"", b"220 ready\r\n"), (UNDECLARED, WORDS, WORDS)], ids=["mail", "undeclared"]
)
def test_what_is_no_http_without_a_certificate(mesh: Mesh, port: int, words: bytes, answer: bytes) -> None:
    mode, world, _ = mesh
    seconds = 5.0 if words or mode != "Strict" else 0.5  # silence is not refused at once: it may yet become a handshake
    assert said(world.outside.connect(POD, port, seconds), words) == (b"" if mode == "Strict" else answer)


def test_http_to_a_port_that_nobody_declared(mesh: Mesh) -> None:
    mode, world, _ = mesh
    answer = said(world.outside.connect(POD, UNDECLARED), b"GET /a HTTP/1.1\r\nHost: web\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ") == (mode == "Strict")


def test_what_is_no_http_with_a_certificate(mesh: Mesh) -> None:
    _, world, _ = mesh
    with proved(world, UNDECLARED, TCP) as connection:
        connection.sendall(len(WORDS).to_bytes(4, "big") + WORDS)  # as `tls.frames` of the sidecar writes it
        assert connection.recv(65536) == len(WORDS).to_bytes(4, "big") + WORDS


def test_the_applications_own_tls_goes_through_untouched(mesh: Mesh) -> None:
    mode, world, _ = mesh
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(world.own / "bundle.pem")
    try:
        with context.wrap_socket(world.outside.connect(POD, OWN_TLS), server_hostname="web") as own:
            own.sendall(b"hello")
            assert own.recv(100) == b"own:hello"
            assert own.getpeercert(True) == ssl.PEM_cert_to_DER_cert((world.own / "certificate.pem").read_text())
    except (ConnectionError, ssl.SSLError):
        assert mode == "Strict"
    else:
        assert mode != "Strict"


def test_who_is_told_of_by_the_admin_page(mesh: Mesh) -> None:
    mode, world, sidecar = mesh
    said(world.outside.connect(POD, UNDECLARED), WORDS)
    said(proved(world, WEB, H1), b"GET /a HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    page = get(world.pod.connect("127.0.0.1", sidecar.port("admin")), b"/callers", b"localhost").decode()
    assert f'"port":{UNDECLARED},"caller":"198.18.0.2","mtls":false' in page
    assert f'"port":{WEB},"caller":"{named("shop")}","mtls":true' in page
    assert f'"mode":"{mode}"' in page
