"""A pod's sidecar behind the real redirect rules: whatever the pod says and whoever calls it, over IPv4 and IPv6.

Two network namespaces with a wire between them: the pod, and the world with everybody else. The proxy runs in the pod
under its own uid, the test's threads are the applications on both sides.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
import time
from contextlib import ExitStack

import pytest

from tests.support.namespaces import capture, get, link, namespace, needed, proxy

pytestmark = pytest.mark.live

POD, WORLD, FAR = "198.18.0.1", "198.18.0.2", "198.18.9.1"
POD6, FAR6 = "fd00:5::1", "fd00:9::1"
WEB, WEB6, DB, MAIL, ONLY, OFF = "10.96.0.10", "fd00:96::a", "10.96.0.11", "10.96.0.12", "10.96.0.13", "10.96.0.14"
SELF = "10.96.0.15"
LARGE = bytes(range(256)) * 40_000  # 10 MB


def http(connection):
    """Tells the caller what it said, a request a connection."""
    with connection:
        said = b""
        while b"\r\n\r\n" not in said and (data := connection.recv(65536)):
            said += data
        if said:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(said)
            connection.sendall(head + said)


def echo(connection):
    """Bytes back, to the end."""
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def banner(connection):
    """Speaks first, then once more, then ends."""
    with connection:
        connection.sendall(b"220 ready\r\n")
        connection.recv(100)
        connection.sendall(b"221 bye\r\n")


def digest(connection):
    """Reads to the caller's end, then answers."""
    with connection:
        seen = hashlib.sha256()
        while data := connection.recv(65536):
            seen.update(data)
        connection.sendall(seen.hexdigest().encode())


def serve(server, handle):
    def loop():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=quietly, args=(handle, connection), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def quietly(handle, connection):
    try:
        handle(connection)
    except OSError:
        pass  # the caller was quicker


def service(name, port, addresses, *endpoints, **options):
    members = [{"uid": f"{address}:{number}", "address": address, "port": number} for address, number in endpoints]
    spec = {"name": name, "namespace": "shop", "port": port, "addresses": addresses, "backend": name}
    return {
        f"service/{name}": spec | options,
        f"backend/{name}": {"name": name, "endpoints": name, "service": name},
        f"endpoints/{name}": {"name": name, "endpoints": members},
    }


def listener(name, direction, port, services, **options):
    spec = {"name": name, "direction": direction, "address": "::", "port": port, "services": services}
    return {f"listener/{name}": spec | {"transparent": True, "pass_through": True} | options}


def snapshot(**outbound):
    outward = ["shop/web:80", "shop/db:5432", "shop/mail:25", "shop/only:80", "shop/off:80", "shop/self:80"]
    return {
        "proxy/self": {"name": "client", "namespace": "shop"},
        **listener("outbound", "Outbound", 15001, [*outward, "shop/set:8080", "shop/named:8088"], **outbound),
        **listener("inbound", "Inbound", 15006, ["inbound-8080", "inbound-8081", "inbound-9"]),
        **service("shop/web:80", 80, [WEB, WEB6], (WORLD, 8080), domains=["web"]),
        **service("shop/db:5432", 5432, [DB], (WORLD, 1), (WORLD, 5432)),
        **service("shop/mail:25", 25, [MAIL], (WORLD, 25)),
        **service("shop/only:80", 80, [ONLY], (WORLD, 8080), protocol="HTTP"),
        **service("shop/off:80", 80, [OFF], (WORLD, 1)),
        **service("shop/self:80", 80, [SELF], (POD, 8080)),
        **service("shop/set:8080", 8080, [], (WORLD, 8080), (FAR, 8080), headless=True),
        **service("shop/named:8088", 8088, [], (WORLD, 8080), domains=["named"]),
        **service("inbound-8080", 8080, [], (POD, 8080)),
        **service("inbound-8081", 8081, [], (POD, 8081)),
        **service("inbound-9", 9, [], (POD, 9)),
    }


class Mesh:
    """The pod, the world, and what the sidecar has told."""

    def __init__(self, pod, world, sidecar):
        self.pod, self.world, self.sidecar = pod, world, sidecar
        self._seen = 0

    def lines(self, count=1):
        """The next lines of the access log."""
        found = self.sidecar.log(self._seen + count)[self._seen :]
        self._seen += len(found)
        return found


@pytest.fixture(scope="module")
def namespaces():
    needed()
    with ExitStack() as stack:
        pod, world = stack.enter_context(namespace()), stack.enter_context(namespace())
        link(pod, world)
        capture(pod)
        for where, address, port, handle in (
            (world, WORLD, 8080, http), (world, WORLD, 5432, echo), (world, WORLD, 25, banner),
            (world, FAR, 80, http), (world, FAR6, 80, http), (world, FAR, 3306, banner), (world, FAR, 7, digest),
            (world, FAR, 8080, http), (world, FAR, 8088, http), (pod, POD, 8080, http), (pod, POD6, 8080, http),
            (pod, POD, 8081, banner),
            (pod, POD, 9999, echo), (pod, "127.0.0.1", 7777, http),
        ):  # fmt: skip
            serve(stack.enter_context(where.listen(address, port)), handle)
        yield pod, world


@pytest.fixture(scope="module")
def mesh(namespaces, tmp_path_factory):
    with proxy(namespaces[0], tmp_path_factory.mktemp("sidecar"), snapshot()) as sidecar:
        yield Mesh(*namespaces, sidecar)
        assert "bug" not in sidecar.errors.read_text()


def said(answer):
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("address", [WEB, WEB6])
def test_a_request_to_a_service_by_its_address(mesh, address):
    answer = get(mesh.pod.connect(address, 80), b"/a", b"web")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"GET /a HTTP/1.1\r\n" in said(answer)
    [line] = mesh.lines()
    assert (line["listener"], line["service"], line["upstream"]) == ("outbound", "shop/web:80", f"{WORLD}:8080")
    assert line["peer"] == (POD if address == WEB else POD6)


@pytest.mark.parametrize(("address", "upstream"), [(FAR, f"{FAR}:80"), (FAR6, f"[{FAR6}]:80")])
def test_an_address_of_no_service_whatever_its_host_says(mesh, address, upstream):
    assert b"Host: web\r\n" in get(mesh.pod.connect(address, 80), b"/", b"web")
    [line] = mesh.lines()
    assert (line["backend"], line["upstream"]) == ("outside", upstream)


def test_a_service_that_only_names_a_host_is_found_by_its_name(mesh):
    assert b" 200 " in get(mesh.pod.connect(FAR, 8080), b"/", b"named:8080")[:20]
    assert mesh.lines()[0]["service"] in ("shop/named:8088", "shop/set:8080")


def test_a_headless_service_by_the_endpoint_that_was_dialled(mesh):
    for address in (FAR, WORLD, FAR, FAR):
        assert b" 200 " in get(mesh.pod.connect(address, 8080), b"/", b"set")[:20]
        [line] = mesh.lines()
        assert (line["service"], line["upstream"]) == ("shop/set:8080", f"{address}:8080")


def test_a_database_after_an_endpoint_that_is_away(mesh):
    for _ in range(6):  # whichever comes first
        with mesh.pod.connect(DB, 5432) as connection:
            connection.sendall(struct.pack(">ii", 8, 80877103))
            assert connection.recv(100) == struct.pack(">ii", 8, 80877103)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
    lines = mesh.lines(6)
    assert {(line["protocol"], line["service"], line["upstream"], line.get("error")) for line in lines} == {
        ("TCP", "shop/db:5432", f"{WORLD}:5432", None)
    }


@pytest.mark.parametrize(("address", "port"), [(MAIL, 25), (FAR, 3306)])
def test_a_server_that_speaks_first(mesh, address, port):
    with mesh.pod.connect(address, port) as connection:
        assert connection.recv(100) == b"220 ready\r\n"
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100) == b"221 bye\r\n"
        assert connection.recv(100) == b""
    assert mesh.lines()[0]["protocol"] == "TCP"


@pytest.mark.parametrize("address", [WEB, ONLY, FAR])
def test_a_caller_that_waits_before_its_request_is_served_as_http(mesh, address):
    with mesh.pod.connect(address, 80) as connection:
        time.sleep(0.3)  # longer than silence is waited for
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        assert b"x-request-id" in b"".join(iter(lambda: connection.recv(65536), b""))
    assert mesh.lines()[0]["path"] == "/late"


def test_tls_is_relayed_and_its_name_told(mesh, tmp_path):
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    engine = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="db.example")
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    hello = outgoing.read()
    with mesh.pod.connect(DB, 5432) as connection:
        connection.sendall(hello)
        connection.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: connection.recv(65536), b"")) == hello
    [line] = mesh.lines()
    assert (line["protocol"], line["host"], line["bytes_out"]) == ("TLS", "db.example", len(hello))


def test_http2_is_relayed_and_never_to_a_port_that_is_http(mesh):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    with mesh.pod.connect(DB, 5432) as connection:
        connection.sendall(preface)
        assert connection.recv(100) == preface
    assert mesh.lines()[0]["protocol"] == "HTTP/2"
    with mesh.pod.connect(ONLY, 80) as connection:
        connection.sendall(preface)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert mesh.lines()[0]["error"] == "bad_request"


def test_much_goes_through_whole_and_an_end_is_passed_on(mesh):
    with mesh.pod.connect(FAR, 7, 20) as connection:
        connection.sendall(b"\x00" + LARGE)
        connection.shutdown(socket.SHUT_WR)
        told = b"".join(iter(lambda: connection.recv(65536), b""))
    assert told.decode() == hashlib.sha256(b"\x00" + LARGE).hexdigest()
    [line] = mesh.lines()
    assert (line["bytes_in"], line["bytes_out"]) == (len(LARGE) + 1, 64)


def test_much_comes_back_whole_to_a_caller_that_reads_slowly(mesh):
    with mesh.pod.connect(DB, 5432, 20) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(LARGE), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        seen = bytearray()
        while data := connection.recv(1 << 20):
            seen += data
            time.sleep(0.005)
        sender.join()
    assert seen == LARGE
    mesh.lines()


def test_a_service_that_nobody_answers_for(mesh):
    assert b" 503 " in get(mesh.pod.connect(OFF, 80), b"/", b"off")[:20]
    with mesh.pod.connect(OFF, 80) as connection:
        connection.sendall(b"\x00")
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    assert [line["error"] for line in mesh.lines(2)] == ["connect_refused", "connect_refused"]


@pytest.mark.parametrize("address", [SELF, POD])
def test_a_pod_that_calls_itself(mesh, address):
    assert b" 200 " in get(mesh.pod.connect(address, 80 if address == SELF else 8080), b"/", b"self")[:20]
    assert mesh.lines()[0]["upstream"] == f"{POD}:8080"


def test_loopback_is_left_alone(mesh):
    """Containers of a pod among themselves, and `kubectl port-forward`."""
    assert b"x-request-id" not in get(mesh.pod.connect("127.0.0.1", 7777), b"/")


@pytest.mark.parametrize("address", [POD, POD6])
def test_a_host_calls_in_by_the_pods_address(mesh, address):
    """As the kubelet's probes do, and everybody else."""
    answer = get(mesh.world.connect(address, 8080), b"/ready")
    assert b"x-forwarded-for: " in answer
    [line] = mesh.lines()
    assert (line["listener"], line["service"], line["path"]) == ("inbound", "inbound-8080", "/ready")


def test_whatever_is_spoken_inbound(mesh):
    with mesh.world.connect(POD, 8081) as connection:
        assert connection.recv(100) == b"220 ready\r\n"
    with mesh.world.connect(POD, 9999) as connection:  # a port that nobody has declared
        connection.sendall(b"\x00\x01")
        assert connection.recv(100) == b"\x00\x01"
    assert {(line.get("service", ""), line["upstream"]) for line in mesh.lines(2)} == {
        ("inbound-8081", f"{POD}:8081"), ("", f"{POD}:9999"),
    }  # fmt: skip


def test_an_application_that_is_not_there_is_told_with_the_mark(mesh):
    answer = get(mesh.world.connect(POD, 9), b"/")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"x-sidewinder-unreached: 1\r\n" in answer
    assert mesh.lines()[0]["error"] == "connect_refused"


@pytest.mark.parametrize("port", [15001, 15006])
def test_the_proxys_own_ports_lead_nowhere(mesh, port):
    for where, address in ((mesh.world, POD), (mesh.pod, POD), (mesh.pod, "127.0.0.1")):
        answer = get(where.connect(address, port), b"/")
        assert answer.startswith(b"HTTP/1.1 508 "), (address, answer)
    assert [line["error"] for line in mesh.lines(3)] == ["loop"] * 3
