"""Two proxies that speak mTLS with each other, as processes: who is believed, who is not, what rotation does.

Certificates are the operator's own code's (`authority/sign`); the identity's files are written as `sidewinder up` does.
"""

import asyncio
import contextlib
import datetime as dt
import random
import re
import socket
import ssl
import threading

import pytest

from tests.support.authority import DOMAIN, now, trust
from tests.support.identities import TCP, ask, client, forged, identity, named, write
from tests.support.sidecar import backend, sidecar, snapshot

pytestmark = pytest.mark.live

REVIEWS, WEB = f"spiffe://{DOMAIN}/ns/shop/sa/reviews", f"spiffe://{DOMAIN}/ns/shop/sa/web"
GET = b"GET /a HTTP/1.1\r\nhost: reviews\r\n\r\n"


def calling(port, expected=REVIEWS):
    """The caller's proxy: one service, whose endpoint is the other proxy."""
    made = snapshot(port)
    made["listener/in"] |= {"name": "in", "direction": "Outbound"}
    [endpoint] = made["endpoints/shop/reviews:9080"]["endpoints"]
    endpoint["identity"] = expected
    return made


def counted(proxy, side):
    """Handshakes by result."""
    pattern = re.compile(rf'^sidewinder_tls_handshakes_total{{side="{side}",result="(\w+)"}} (\d+)$', re.MULTILINE)
    return {name: int(count) for name, count in pattern.findall(proxy.metrics())}


@contextlib.contextmanager
def proxies(tmp_path, app, by, expected=REVIEWS, **life):
    """The called one and the calling one, and the ports they serve on."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir(), outside.mkdir()
    identity(inside / "id", by, named("reviews"), **life)
    identity(outside / "id", by, named("web"), **life)
    with sidecar(inside, snapshot(app.port), IDENTITY=str(inside / "id")) as called:
        port = called.ready()
        with sidecar(outside, calling(port, expected), IDENTITY=str(outside / "id")) as caller:
            yield called, port, caller, caller.ready()


@pytest.fixture
def app():
    with backend() as one:
        yield one


def test_the_application_is_called_over_mtls_and_the_caller_is_known(tmp_path, app):
    by = trust()
    with proxies(tmp_path, app, by) as (called, inside, caller, outside):
        for number in range(20):
            assert caller.ask(outside, f"/{number}", host="reviews").status == 200
        assert counted(caller, "client") == {"ok": 1}  # one connection was kept for all
        assert counted(called, "server") == {"ok": 1}
        assert {line["identity"] for line in called.log(20)} == {WEB}
        assert {line["path"] for line in called.log(20)} == {f"/{number}" for number in range(20)}
        # a caller without a certificate is as welcome as before: no policy says otherwise
        assert called.ask(inside, "/plain", host="reviews").status == 200
        assert "identity" not in called.log(21)[-1]
        assert dict(app.asked[0]["headers"])["x-forwarded-proto"] == "http"


def test_large_bodies_go_both_ways(tmp_path, app):
    with proxies(tmp_path, app, trust()) as (_, _, caller, outside):
        body = b"x" * 3_000_000
        answer = caller.ask(outside, "/big", "POST", body, host="reviews")
        assert answer.status == 200
        assert len(answer.json()["body"]) == len(body)


def test_somebody_elses_certificate_at_the_address_is_no_answer(tmp_path, app):
    with proxies(tmp_path, app, trust(), f"spiffe://{DOMAIN}/ns/shop/sa/ratings") as (called, _, caller, outside):
        answer = caller.ask(outside, "/a", host="reviews")
        assert answer.status == 502
        assert "tls_certificate_error" in answer.headers["proxy-status"]
        [line] = caller.log(1)
        assert line["error"] == "tls_identity"
        assert REVIEWS in line["detail"]
        assert counted(caller, "client")["identity"] >= 1
        assert app.asked == []
        assert called.output.read_bytes() == b""


def test_without_an_identity_of_its_own_it_never_calls_in_the_clear(tmp_path, app):
    by = trust()
    identity(tmp_path / "id", by, named("reviews"))
    with (
        sidecar(tmp_path, snapshot(app.port), IDENTITY=str(tmp_path / "id")) as called,
    ):
        port = called.ready()
        (tmp_path / "out").mkdir()
        with sidecar(tmp_path / "out", calling(port), IDENTITY=str(tmp_path / "out/id")) as caller:
            outside = caller.ready()
            answer = caller.ask(outside, "/a", host="reviews")
            assert answer.status == 502
            assert "no identity of our own yet" in answer.headers["proxy-status"]
            assert app.asked == []
            # and once somebody has written one, it does
            identity(tmp_path / "out/id", by, named("web"))
            caller.wait(lambda: caller.ask(outside, "/a", host="reviews").status == 200, 5)


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """A proxy that is called by all kinds of people."""
    folder = tmp_path_factory.mktemp("called")
    by = trust()
    identity(folder / "id", by, named("reviews"))
    with backend() as app, sidecar(folder, snapshot(app.port), IDENTITY=str(folder / "id")) as proxy:
        yield proxy, proxy.ready(), by, app, folder


def _nobody(folder, by):
    return None


def _domain(folder, by):
    return identity(folder / "other", by, named("web", domain="evil.example"))


def _stranger(folder, by):
    return identity(folder / "stranger", trust(), named("web"))


def _expired(folder, by):
    return identity(
        folder / "expired", by, named("web"), begins=now() - dt.timedelta(hours=2), life=dt.timedelta(hours=1)
    )


def _ca(folder, by):
    return write(folder / "ca", *forged(by, (WEB,), ca=True), by)


def _two(folder, by):
    return write(folder / "two", *forged(by, (WEB, REVIEWS)), by)


def _nameless(folder, by):
    return write(folder / "nameless", *forged(by, ()), by)


@pytest.mark.parametrize(
    ("make", "result"),
    [
        pytest.param(_nobody, "no_certificate", id="no certificate"),
        pytest.param(_domain, "trust_domain", id="another trust domain"),
        pytest.param(_stranger, "untrusted", id="a root of its own"),
        pytest.param(_expired, "expired", id="expired"),
        pytest.param(_ca, "certificate", id="a CA"),
        pytest.param(_two, "certificate", id="two SPIFFE IDs"),
        pytest.param(_nameless, "certificate", id="no SPIFFE ID"),
    ],
)
def test_who_is_not_let_in(called, tmp_path, make, result):
    proxy, port, by, app, folder = called
    before, asked = counted(proxy, "server").get(result, 0), len(app.asked)
    shown = make(tmp_path, by)
    assert ask(port, client(shown, folder / "id")) == b""
    proxy.wait(lambda: counted(proxy, "server").get(result, 0) == before + 1, 5)
    assert len(app.asked) == asked
    proxy.wait(lambda: f"({result})" in proxy.errors.read_text(), 5)


def test_tls_1_2_is_refused(called, tmp_path):
    proxy, port, by, app, folder = called
    shown, asked = identity(tmp_path / "web", by, named("web")), len(app.asked)
    assert ask(port, client(shown, folder / "id", newest=ssl.TLSVersion.TLSv1_2)) == b""
    proxy.wait(lambda: counted(proxy, "server").get("version", 0) == 1, 5)
    assert len(app.asked) == asked
    assert ask(port, client(shown, folder / "id")).startswith(b"HTTP/1.1 200 ")


def test_what_a_caller_calls_tcp_is_judged_as_what_the_port_speaks(called, tmp_path):
    _, port, by, _, folder = called
    shown = identity(tmp_path / "web", by, named("web"))
    answer = ask(port, client(shown, folder / "id", (TCP,)), len(GET).to_bytes(4, "big") + GET)
    assert answer[4:].startswith(b"HTTP/1.1 200 ")
    assert ask(port, client(shown, folder / "id", (TCP,)), b"\xff\xff\xff\xff" + GET) == b""


def test_a_client_hello_may_come_byte_by_byte_and_a_half_one_is_given_up(called, tmp_path):
    _, port, by, _, folder = called
    context = client(identity(tmp_path / "web", by, named("web")), folder / "id")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(down, up, server_hostname="x")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = up.read()
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(hello)):
            plain.sendall(hello[at : at + 1])
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(up.read())
                down.write(plain.recv(65536))
        tls.write(GET)
        plain.sendall(up.read())
        down.write(plain.recv(65536))
        assert tls.read(12) == b"HTTP/1.1 200"
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(hello[:50])
        assert plain.recv(100).startswith(b"HTTP/1.1 400 ")  # it is nobody's TLS, so it is HTTP that makes no sense


def test_broken_hellos_and_broken_records_harm_nobody(called, tmp_path):
    proxy, port, by, _, folder = called
    dice = random.Random(6)
    context = client(identity(tmp_path / "web", by, named("web")), folder / "id")
    up = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), up, server_hostname="x").do_handshake()
    hello = up.read()
    for _ in range(300):
        broken = bytearray(hello)
        for _ in range(dice.choice((1, 2, 8, 40))):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            plain.sendall(bytes(broken) + dice.randbytes(dice.choice((0, 0, 50))))
    for _ in range(30):  # after the handshake: what is no record
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            tls = context.wrap_socket(plain, do_handshake_on_connect=True)
            tls.sendall(GET)
            assert tls.recv(12) == b"HTTP/1.1 200"
            with socket.socket(fileno=tls.detach()) as below:
                below.sendall(dice.randbytes(100))
    proxy.wait(lambda: "sidewinder_tls_handshakes_pending 0" in proxy.metrics(), 10)
    assert "sidewinder_bugs_total 0" in proxy.metrics()
    assert ask(port, context).startswith(b"HTTP/1.1 200 ")
    assert proxy.errors.read_text().count("sidewinder.tls") < 200  # told once a second, not once each


def test_connections_end_with_the_certificates_they_were_made_with(tmp_path, app):
    life = dt.timedelta(seconds=6)
    with proxies(tmp_path, app, trust(), life=life) as (called, port, caller, outside):
        assert caller.ask(outside, "/1", host="reviews").status == 200
        shown = client(tmp_path / "out/id", tmp_path / "in/id")
        with socket.create_connection(("127.0.0.1", port), 20) as plain, shown.wrap_socket(plain) as kept:
            kept.sendall(GET)
            answer = b""
            while not answer.endswith(b"}"):  # the application writes its head first, and its body after that
                answer += (piece := kept.recv(65536))
                assert piece, answer
            began = now()
            assert kept.recv(65536) == b""  # closed by the other side, with its certificate
            assert (now() - began).total_seconds() < life.total_seconds() + 5
        answer = caller.ask(outside, "/2", host="reviews")
        assert answer.status == 502
        assert "our certificate has ended" in answer.headers["proxy-status"]
        assert ask(port, shown) == b""
        assert counted(called, "server")["own_expired"] >= 1


def test_renewing_certificates_and_roots_under_load_fails_no_request(tmp_path, app):
    old, new = trust(), trust()
    with proxies(tmp_path, app, old) as (called, _, caller, outside):
        statuses, over = [], threading.Event()

        def load():
            while not over.is_set():
                statuses.append(caller.ask(outside, "/load", host="reviews").status)

        loading = [threading.Thread(target=load) for _ in range(4)]
        for one in loading:
            one.start()
        folders = ((tmp_path / "in/id", "reviews"), (tmp_path / "out/id", "web"))
        # as a rotation goes: both are trusted, then the new one signs, then the old one is forgotten
        for by, *trusted in ((old, old, new), (new, new, old), (new, new)):
            for folder, account in folders:
                before = [proxy.errors.read_text().count(" until ") for proxy in (called, caller)]
                identity(folder, by, named(account), *trusted)
                which = 0 if account == "reviews" else 1
                proxy = (called, caller)[which]
                proxy.wait(lambda proxy=proxy, seen=before[which]: proxy.errors.read_text().count(" until ") > seen, 10)
        statuses_so_far = len(statuses)
        caller.wait(lambda: len(statuses) > statuses_so_far + 50, 10)
        over.set()
        for one in loading:
            one.join()
        assert set(statuses) == {200}
        assert counted(caller, "client")["ok"] >= 4
        assert "refused" not in counted(caller, "client")


SLOW_SECONDS, TRY_SECONDS = 1.5, 0.5


async def _slow_to_begin(port, reader, writer):
    """What a connection says first comes late, as where a proxy has no time for a handshake; the rest at once."""
    there, on = await asyncio.open_connection("127.0.0.1", port)

    async def carry(source, sink):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    on.write(await reader.read(65536) or b"")
    await asyncio.sleep(0)
    first = await there.read(65536)
    await asyncio.sleep(SLOW_SECONDS)
    writer.write(first)
    await asyncio.gather(carry(reader, on), carry(there, writer))


@pytest.fixture
def slow(tmp_path, app):
    """A called proxy behind a way on which handshakes are slow: its port there, and how many have come."""
    by = trust()
    (tmp_path / "in").mkdir()
    identity(tmp_path / "in/id", by, named("reviews"))
    loop, came = asyncio.new_event_loop(), []
    with sidecar(tmp_path / "in", snapshot(app.port), IDENTITY=str(tmp_path / "in/id")) as called:
        port = called.ready()

        async def take(reader, writer):
            came.append(1)
            await _slow_to_begin(port, reader, writer)

        server = loop.run_until_complete(asyncio.start_server(take, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        yield server.sockets[0].getsockname()[1], came, by
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def test_a_handshake_that_takes_longer_than_a_try_is_not_begun_for_ever(tmp_path, slow):
    port, came, by = slow
    made = calling(port)
    made["route/shop/reviews"]["rules"][0] |= {"backend_timeout": TRY_SECONDS}
    (tmp_path / "out").mkdir()
    identity(tmp_path / "out/id", by, named("web"))
    with sidecar(tmp_path / "out", made, IDENTITY=str(tmp_path / "out/id")) as caller:
        outside = caller.ready()
        assert caller.ask(outside, "/a", host="reviews").status == 504
        caller.wait(lambda: counted(caller, "client").get("ok"), 10)  # though nobody waits for it any more
        before = len(came)
        for _ in range(5):
            assert caller.ask(outside, "/a", host="reviews").status == 200
        assert len(came) == before == 1
