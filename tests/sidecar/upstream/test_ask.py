"""A question of our own: over real sockets, in its time and size, once more where a kept connection had died."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import ANSWERING, UNSENT
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.upstream.ask import PLACES, Answer, Asker, Place, Question, place
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import Scene
from tests.support.sockets import run, serving, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nok"

PLACED = {
    "plain": ("http://a.example/x?y=1", Place("a.example", 80, False), b"/x?y=1", b"a.example"),
    "secure": ("https://a.example", Place("a.example", 443, True), b"/", b"a.example"),
    "a port": ("https://a.example:8443/", Place("a.example", 8443, True), b"/", b"a.example:8443"),
    "IPv6": ("http://[::1]:81/x", Place("::1", 81, False), b"/x", b"[::1]:81"),
}


@pytest.mark.parametrize(("uri", "where", "target", "authority"), PLACED.values(), ids=PLACED)
def test_an_address_is_read(uri: str, where: Place, target: bytes, authority: bytes) -> None:
    assert place(uri) == (where, target)
    assert where.authority == authority


@pytest.mark.parametrize(
    "uri", ["", "a.example", "ftp://a", "http://", "http://u@a", "http://a/ b", "http://a/#x", "http://a:x"]
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"URI|[Pp]ort"):
        place(uri)


def asker() -> Asker:
    wheel = Wheel.of(asyncio.get_running_loop())
    return Asker(wheel, lambda spec, timeout: Endpoint(spec, Limits(), wheel, timeout))


async def asked(asking: Asker, question: Question) -> Answer:
    told: list[Answer] = []
    asking.ask(question, told.append)
    assert not told
    await until(lambda: told)
    await asyncio.sleep(0.02)
    assert len(told) == 1
    return told[0]


def test_a_question_and_its_answer_over_a_kept_connection() -> None:
    seen: list[bytes] = []
    connections = 0

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head + await reader.readexactly(3))
            writer.write(OK)

    async def main() -> None:
        async with serving(server) as port:
            asking = asker()
            question = Question(Place("127.0.0.1", port, False), b"/q", b"POST", ((b"X-B", b"2"),), b"a=b")
            for _ in range(3):
                answer = await asked(asking, question)
                assert (answer.status, answer.body, answer.fields.get(b"x-a"), answer.error) == (200, b"ok", b"1", "")
            assert connections == 1
            assert seen[0].startswith(b"POST /q HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
            assert seen[0].endswith(b"X-B: 2\r\nContent-Length: 3\r\n\r\na=b")
            asking.close()

    run(main)


def test_time_is_bounded() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        async with serving(silent) as port:
            answer = await asked(asker(), Question(Place("127.0.0.1", port, False), b"/", timeout=0.1))
            assert (answer.status, answer.error) == (0, "no answer within 0.1 s")

    run(main)


def test_nobody_there() -> None:
    async def main() -> None:
        async with serving(lambda reader, writer: asyncio.sleep(0)) as port:
            pass
        answer = await asked(asker(), Question(Place("127.0.0.1", port, False), b"/"))
        assert answer.error

    run(main)


@pytest.mark.parametrize("cut", [False, True])
def test_size_is_bounded(cut: bool) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async def main() -> None:
        async with serving(endless) as port:
            answer = await asked(asker(), Question(Place("127.0.0.1", port, False), b"/", most=5000, cut=cut))
            if cut:
                assert (answer.status, answer.body) == (403, b"x" * 5000)
            else:
                assert (answer.status, answer.error) == (0, "the answer is longer than 5000 bytes")

    run(main)


def made_for_localhost(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context, and the PEM of who signed its certificate: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idp")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    file = folder / "idp.pem"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain) + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, pem.decode()


def test_https_is_verified(tmp_path: Path) -> None:
    context, ca = made_for_localhost(tmp_path)

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)

    async def main() -> None:
        async with serving(server, ssl=context) as port:
            asking = asker()
            for host, trust, status in (("localhost", ca, 200), ("localhost", "", 0), ("127.0.0.1", ca, 0)):
                answer = await asked(asking, Question(Place(host, port, True, trust), b"/"))
                assert (answer.status, bool(answer.error)) == (status, not status)
            asking.close()

    run(main)


def test_a_kept_connection_that_had_died_is_no_answer() -> None:
    scene = Scene()
    told: list[Answer] = []
    Asker(scene.wheel, scene._make).ask(Question(Place("a", 80, False), b"/"), told.append)
    scene.attempt().fail(UNSENT, "reset_before_request")
    assert (told, scene.attempts) == ([], 2)
    scene.attempt().answer(200, b"ok")
    assert told[0].body == b"ok"
    scene.check()
    assert len(scene.wheel) == 0


def test_an_answer_that_breaks_off_is_none() -> None:
    scene = Scene()
    told: list[Answer] = []
    Asker(scene.wheel, scene._make).ask(Question(Place("a", 80, False), b"/"), told.append)
    scene.attempt().answer(200)
    scene.attempt().data(b"half")
    scene.attempt().fail(ANSWERING, "incomplete", "it ended")
    assert [(answer.status, answer.body, answer.error) for answer in told] == [(0, b"", "it ended")]
    scene.check()


def test_who_does_not_want_to_know_is_not_told() -> None:
    scene = Scene()
    told: list[Answer] = []
    asking = Asker(scene.wheel, scene._make).ask(Question(Place("a", 80, False), b"/"), told.append)
    asking.cancel()
    asking.cancel()
    assert (scene.attempt().cancelled, told, len(scene.wheel)) == ("cancelled", [], 0)
    scene.check()


def test_places_are_bounded() -> None:
    scene = Scene()
    asking = Asker(scene.wheel, scene._make)
    for number in range(PLACES + 10):
        asking.ask(Question(Place(f"host{number}", 80, False), b"/"), lambda answer: None)
    assert sum(endpoint.retired for endpoint in scene.made) == 10
    assert repr(asking) == f"<Asker {PLACES} places>"
    asking.close()
    assert all(endpoint.retired for endpoint in scene.made)


def test_secrets_are_not_printed() -> None:
    question = Question(Place("a", 80, False), b"/?token=hush", headers=((b"authorization", b"hush"),), body=b"hush")
    assert "hush" not in repr(question) + repr(Answer(200, fields((b"x", b"hush")), b"hush"))
