"""An issuer is asked, believed, and told from one that lies: real sockets, real TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidewinder_operator.issuers.fetch import Answer, Before, Fetcher, Unavailable
from sidewinder_operator.resources.keys import Wanted
from sidewinder_sidecar.snapshot.jwks import judge
from tests.support.key_server import Issuer
from tests.support.tokens import jwk, jwks

KEYS = jwks(jwk(), jwk("ES256"))


def fetch(
    issuer: Issuer, work=None, *, tls=None, ca="", discovery=False, before=None, loopback=True, patience=5.0, **wanted
) -> Answer:
    """One fetch of what the issuer serves."""

    async def main() -> Answer:
        async with issuer.serving(tls):
            address = f"{issuer.url}/.well-known/openid-configuration" if discovery else f"{issuer.url}/jwks.json"
            asked = {"id": "idp", "address": address, "issuer": issuer.url if discovery else "", "ca": ca, **wanted}
            fetcher = Fetcher(loopback=loopback, patience=patience)
            try:
                return await fetcher.fetch(Wanted(**asked), before(issuer) if before else Before())
            finally:
                await fetcher.close()

    return asyncio.run(main())


@pytest.fixture
def issuer() -> Issuer:
    found = Issuer()
    found.jwks = KEYS
    return found


def test_keys_are_fetched(issuer):
    issuer.headers = {"cache-control": "max-age=60"}
    answer = fetch(issuer)
    assert answer.jwks == judge(KEYS).text()
    assert answer.headers["cache-control"] == "max-age=60"
    assert answer.address == f"{issuer.url}/jwks.json"


def test_what_has_not_changed_is_not_sent_again(issuer):
    issuer.etags = True
    first = fetch(issuer)
    assert first.etag
    again = fetch(issuer, before=lambda issuer: Before(address=f"{issuer.url}/jwks.json", etag=first.etag))
    assert again.jwks == ""
    assert issuer.not_modified == 1
    other = fetch(issuer, before=lambda issuer: Before(address="https://elsewhere/", etag=first.etag))
    assert other.jwks  # what another address said is no measure


def test_discovery_says_where(issuer):
    assert fetch(issuer, discovery=True).jwks == judge(KEYS).text()
    assert issuer.asked == {"discovery": 1, "jwks": 1}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        pytest.param({"issuer": "https://evil.example"}, "of another issuer", id="another's document"),
        pytest.param({"issuer": None}, "of another issuer", id="nobody's document"),
        pytest.param({"jwks_uri": None}, "no jwks_uri", id="no place"),
        pytest.param({"jwks_uri": "http://idp.example/keys"}, "no jwks_uri with https", id="a place without TLS"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, "no jwks_uri with https", id="a file"),
        pytest.param({"jwks_uri": ["https://a/"]}, "no jwks_uri", id="places in a list"),
    ],
)
def test_a_discovery_document_that_lies(issuer, document, why):
    issuer.document = document
    with pytest.raises(Unavailable, match=why):
        fetch(issuer, discovery=True)
    assert issuer.asked["jwks"] == 0


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        pytest.param("html", "not JSON", id="a page"),
        pytest.param("error", "answers 503", id="503"),
        pytest.param("empty", "not JSON", id="nothing"),
        pytest.param("redirect", "redirects are not followed", id="a redirect"),
        pytest.param("big", "more than 1024 KB", id="10 MB"),
        pytest.param("drip", "within 0.4 s", id="a byte at a time"),
        pytest.param("slow", "within 0.4 s", id="nothing for ever"),
        pytest.param("gzip", "compressed", id="compressed unasked"),
        pytest.param("away", "cannot be asked", id="gone in the middle"),
    ],
)
def test_an_issuer_that_misbehaves(issuer, behaviour, why):
    issuer.behaviour = behaviour
    began = time.monotonic()
    with pytest.raises(Unavailable, match=why) as unavailable:
        fetch(issuer, patience=0.4 if behaviour in ("drip", "slow") else 5.0)
    assert "secret-word" not in str(unavailable.value)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "keys",
    [jwks({"kty": "oct", "k": "c2VjcmV0"}), jwks(jwk(d="AQ")), jwks(jwk(n="AQAB")), '{"keys": []}', '{"keys": 1}'],
    ids=["a secret", "private", "too short", "none", "no list"],
)
def test_keys_that_are_none(issuer, keys):
    issuer.jwks = keys
    with pytest.raises(Unavailable, match="no JWK Set to verify tokens with") as unavailable:
        fetch(issuer)
    assert "c2VjcmV0" not in str(unavailable.value)


def test_an_etag_that_is_none_is_not_kept(issuer):
    issuer.headers = {"etag": "x" * 300}
    assert fetch(issuer).etag == ""


def test_in_a_cluster_this_machine_is_nobodys_issuer(issuer):
    with pytest.raises(Unavailable, match="nobody's issuer"):
        fetch(issuer, loopback=False)
    assert not issuer.asked


def test_nobody_listens():
    async def main() -> None:
        fetcher = Fetcher(loopback=True)
        try:
            await fetcher.fetch(Wanted(id="a", address="http://127.0.0.1:1/jwks.json"), Before())
        finally:
            await fetcher.close()

    with pytest.raises(Unavailable, match="cannot be asked: "):
        asyncio.run(main())


class TestTls:
    """https, with an authority of one's own."""

    @pytest.fixture
    def served(self, tmp_path) -> tuple[ssl.SSLContext, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
            .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "both.pem").write_bytes(pem + secret)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "both.pem")
        return context, pem.decode()

    def test_who_is_vouched_for_is_believed(self, issuer, served):
        tls, ca = served
        assert fetch(issuer, tls=tls, ca=ca).jwks
        assert fetch(issuer, tls=tls, ca=ca, discovery=True).jwks

    def test_nobody_else(self, issuer, served):
        with pytest.raises(Unavailable, match="its certificate is not accepted: self"):
            fetch(issuer, tls=served[0])

    def test_a_name_that_is_not_in_the_certificate(self, issuer, served):
        tls, ca = served

        async def main() -> None:
            async with issuer.serving(tls):
                fetcher = Fetcher(loopback=True)
                address = issuer.url.replace("localhost", "127.0.0.1") + "/jwks.json"
                try:
                    await fetcher.fetch(Wanted(id="a", address=address, ca=ca), Before())
                finally:
                    await fetcher.close()

        with pytest.raises(Unavailable, match="its certificate is not accepted"):
            asyncio.run(main())

    def test_discovery_never_leads_from_https_to_http(self, issuer, served):
        tls, ca = served
        issuer.document = {"jwks_uri": "http://localhost:1/jwks.json"}
        with pytest.raises(Unavailable, match="from https to http"):
            fetch(issuer, tls=tls, ca=ca, discovery=True)

    def test_an_authority_that_is_none(self, issuer):
        with pytest.raises(Unavailable, match="no certificate in PEM"):
            fetch(issuer, ca="hello")
