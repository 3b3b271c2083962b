"""The operator's own certificate, met over real TLS: renewed in place, and trusted roots come and go with the trust."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.credentials import Credentials
from sidewinder_operator.authority.root import Trust, fingerprint
from sidewinder_operator.authority.sign import LIFETIME, Identity, Refused, sign
from tests.support import enrolment
from tests.support.clock import eventually

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
OPERATOR = Identity("cluster.local", "system", "sidewinder-operator", "op-1")
POD = Identity("cluster.local", "shop", "reviews", "5b6e")
NAMES = (enrolment.SERVER, "sidewinder-operator")
ONE, TWO = (Trust(roots.create("cluster.local", NOW)) for _ in range(2))
BOTH = roots.announce(ONE, TWO.signing)


def made(trust: Trust = ONE, lifetime: dt.timedelta = LIFETIME) -> Credentials:
    credentials = Credentials(OPERATOR, NAMES, lifetime)
    assert credentials.step(trust, NOW)
    return credentials


def client(trusted: Trust, signer: Trust | None = None, **how: dt.datetime | dt.timedelta) -> ssl.SSLContext:
    """A pod's context; without a signer it shows no certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    if signer is None:
        return enrolment.trusting(trusted.pem().decode())
    chain = sign(enrolment.request(key).encode(), POD, signer, **{"now": NOW, **how})
    return enrolment.trusting(trusted.pem().decode(), chain.decode(), key)


class Site:
    """A server that answers each line with the URIs of the client's certificate."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, tls: ssl.SSLContext) -> tuple[str, str]:
        """Who the client is to the server, and the issuer of what the server shows."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=NAMES[0])
        try:
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.write(b"?\n")
            told = (await asyncio.wait_for(reader.readline(), 5)).decode().strip()
            if not told:
                raise ConnectionResetError("closed")
        finally:
            writer.transport.abort()
        leaf = x509.load_der_x509_certificate(shown)
        known = {fingerprint(each.signing.certificate): each for each in (ONE, TWO)}
        signer = [name for name, each in known.items() if roots.signed_by(leaf, each.signing.certificate)]
        return told, signer[0]


@asynccontextmanager
async def site(credentials: Credentials) -> AsyncIterator[Site]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            shown = writer.get_extra_info("peercert") or {}
            names = [name for kind, name in shown.get("subjectAltName", ()) if kind == "URI"]
            writer.write(f"{names or 'nobody'}".encode() + line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=credentials.server, ssl_shutdown_timeout=1)
    try:
        yield Site(server.sockets[0].getsockname()[1])
    finally:
        server.close()


LOOPS = [asyncio.run, uvloop.run]


def talk(loop: Callable, credentials: Credentials, work: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with site(credentials) as found:
            await work(found)

    loop(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_who_shows_a_certificate_of_ours_is_known_and_who_shows_none_is_nobody(loop) -> None:
    async def work(found: Site) -> None:
        assert await found.ask(client(ONE, ONE)) == (f"['{POD}']?", fingerprint(ONE.signing.certificate))
        assert (await found.ask(client(ONE)))[0] == "nobody?"

    talk(loop, made(), work)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_foreign_and_expired_certificates_tls_1_2_and_plain_text_get_no_answer(loop) -> None:
    async def work(found: Site) -> None:
        ended = {"now": NOW - dt.timedelta(hours=48), "lifetime": dt.timedelta(hours=24)}
        old = client(ONE, ONE)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        for context in (client(ONE, TWO), client(ONE, ONE, **ended), old):
            with pytest.raises(enrolment.CLOSED):
                await found.ask(context)
        with pytest.raises(enrolment.CLOSED):
            await found.ask(client(TWO, ONE)), "who does not trust our root does not talk to us"
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        try:
            assert not (await asyncio.wait_for(reader.read(), 5)).startswith(b"nobody")
        except ConnectionResetError:
            pass
        writer.transport.abort()

    talk(loop, made(), work)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_roots_rotate_under_connections_that_stand(loop) -> None:
    credentials = made()

    async def work(found: Site) -> None:
        stands = client(BOTH, ONE)
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port, ssl=stands, server_hostname=NAMES[0])
        before, after = fingerprint(ONE.signing.certificate), fingerprint(TWO.signing.certificate)
        with pytest.raises(enrolment.CLOSED):
            await found.ask(client(BOTH, TWO))
        assert credentials.step(BOTH, NOW), "another bundle is another context"
        assert (await found.ask(client(BOTH, TWO)))[1] == before, "announced: trusted, and does not sign"
        assert credentials.step(roots.switch(BOTH), NOW)
        assert (await found.ask(client(BOTH, ONE)))[1] == after, "switched: signs, and the old one is trusted"
        assert credentials.step(roots.forget(roots.switch(BOTH)), NOW)
        assert (await found.ask(client(BOTH, TWO)))[1] == after
        with pytest.raises(enrolment.CLOSED):
            await found.ask(client(BOTH, ONE)), "forgotten"
        with pytest.raises(enrolment.CLOSED):
            await found.ask(stands), "and no session of before is resumed"
        writer.write(b"?\n")
        assert await asyncio.wait_for(reader.readline(), 5) == f"['{POD}']?\n".encode()
        writer.transport.abort()

    talk(loop, credentials, work)


def test_replicas_meet_each_other_with_what_they_have() -> None:
    one, other = made(), made()

    async def work(found: Site) -> None:
        assert (await found.ask(other.client))[0] == f"['{OPERATOR}']?"

    talk(uvloop.run, one, work)


def test_a_leaf_is_renewed_at_half_its_life_and_only_then() -> None:
    credentials = made()
    first = credentials.certificate
    assert not credentials.step(ONE, NOW + dt.timedelta(hours=11))
    assert credentials.step(ONE, NOW + dt.timedelta(hours=12))
    assert credentials.certificate is not None
    assert credentials.certificate != first
    assert credentials.certificate.not_valid_after_utc == NOW + dt.timedelta(hours=36)
    assert credentials.renewals == 2
    assert "BEGIN" not in repr(credentials)


def test_an_expired_root_renews_nothing_and_what_there_is_stays() -> None:
    short = Trust(roots.create("cluster.local", NOW, dt.timedelta(hours=1)))
    credentials = made(short)
    before = credentials.certificate
    with pytest.raises(Refused, match="rotate it"):
        credentials.step(short, NOW + dt.timedelta(hours=2))
    assert credentials.certificate is before


def test_running_it_is_ready_at_once_and_follows_the_trust() -> None:
    async def main() -> None:
        held = [ONE]
        credentials = Credentials(OPERATOR, NAMES)
        running = asyncio.create_task(credentials.run(lambda: held[0]))
        await asyncio.wait_for(credentials.ready.wait(), 5)
        held[0] = TWO
        credentials.ring()
        await eventually(lambda: credentials.renewals == 2)
        assert credentials.certificate is not None
        assert roots.signed_by(credentials.certificate, TWO.signing.certificate)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 10))
