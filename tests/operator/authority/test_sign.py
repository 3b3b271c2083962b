"""Signing: an SVID says what was verified and nothing of the request; OpenSSL's strict verification accepts it."""

import asyncio
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sidewinder_operator.authority import root, sign

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
CHECKOUT = sign.Identity("cluster.local", "shop", "checkout")


@pytest.fixture(scope="module")
def trust():
    return root.Trust(root.create("cluster.local", NOW))


def request(key, name="spiffe://cluster.local/ns/kube-system/sa/admin"):
    """A request that claims to be somebody else."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def test_the_leaf_says_who_was_verified_and_no_more(trust):
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = x509.load_pem_x509_certificate(sign.sign(request(key), CHECKOUT, trust, NOW))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/checkout")]
    assert names.critical
    assert leaf.subject == x509.Name([])
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert leaf.public_key() == key.public_key()
    assert leaf.not_valid_after_utc == NOW + sign.LIFETIME
    assert root.signed_by(leaf, trust.signing.certificate)


def test_a_name_tells_those_of_one_identity_apart(trust):
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = x509.load_pem_x509_certificate(sign.sign(request(key), CHECKOUT._replace(name="5b6e"), trust, NOW))
    assert leaf.subject.rfc4514_string() == "CN=5b6e"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not names.critical, "RFC 5280: only where the subject is empty"
    with pytest.raises(sign.Refused, match="64 characters"):
        sign.sign(request(key), CHECKOUT._replace(name="x" * 65), trust, NOW)


def test_a_leaf_may_also_serve_under_dns_names(trust):
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = sign.leaf(key.public_key(), CHECKOUT, trust, NOW, names=("checkout.shop.svc",))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(str(CHECKOUT)), x509.DNSName("checkout.shop.svc")]


def test_two_leaves_meet_over_strict_mutual_tls(trust, tmp_path):
    """The oracle is OpenSSL with X509_STRICT, which Python 3.13 has on by default."""
    (tmp_path / "bundle.pem").write_bytes(trust.pem())
    contexts = []
    for side, purpose in (("server", ssl.PROTOCOL_TLS_SERVER), ("client", ssl.PROTOCOL_TLS_CLIENT)):
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / f"{side}.pem").write_bytes(sign.sign(request(key), CHECKOUT, trust, NOW) + text)
        context = ssl.SSLContext(purpose)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(tmp_path / f"{side}.pem")
        context.load_verify_locations(tmp_path / "bundle.pem")
        contexts.append(context)

    async def talk():
        async def serve(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=contexts[0])
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=contexts[1])
        writer.write(b"hello\n")
        line = await reader.readline()
        names = writer.get_extra_info("peercert")["subjectAltName"]
        writer.close()
        server.close()
        return line, names

    line, names = asyncio.run(asyncio.wait_for(talk(), 10))
    assert line == b"hello\n"
    assert names == (("URI", str(CHECKOUT)),)


def test_a_leaf_never_outlives_its_root(trust):
    short = root.Trust(root.create("a", NOW, dt.timedelta(hours=1)))
    leaf = x509.load_pem_x509_certificate(
        sign.sign(request(ec.generate_private_key(ec.SECP256R1())), CHECKOUT, short, NOW)
    )
    assert leaf.not_valid_after_utc == NOW + dt.timedelta(hours=1)
    with pytest.raises(sign.Refused, match="rotate it"):
        sign.sign(request(ec.generate_private_key(ec.SECP256R1())), CHECKOUT, short, NOW + dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "not a PEM"),
        (b"\xff\x00", "not a PEM"),
        (b"x" * 20000, "20000 bytes"),
        (request(rsa.generate_private_key(65537, 2048)), "P-256"),
        (request(ec.generate_private_key(ec.SECP384R1())), "P-256"),
    ],
    ids=["empty", "binary", "large", "rsa", "p384"],
)
def test_a_request_that_cannot_be_signed_says_why(trust, text, told):
    with pytest.raises(sign.Refused, match=told):
        sign.sign(text, CHECKOUT, trust, NOW)


def test_possession_of_the_key_is_proved(trust):
    """The key in the request is replaced by a stranger's: its signature no longer fits."""
    mine, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    points = [
        key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for key in (mine, theirs)
    ]
    signed = x509.load_pem_x509_csr(request(mine)).public_bytes(serialization.Encoding.DER)
    forged = x509.load_der_x509_csr(signed.replace(*points)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(sign.Refused, match="possession"):
        sign.sign(forged, CHECKOUT, trust, NOW)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "a\n", "é"])
def test_a_name_that_cannot_stand_in_a_spiffe_id_is_refused(trust, name):
    identity = sign.Identity("cluster.local", "shop", name)
    with pytest.raises(sign.Refused, match="SPIFFE ID"):
        sign.sign(request(ec.generate_private_key(ec.SECP256R1())), identity, trust, NOW)


def test_the_budget_limits_a_storm_and_says_when_to_come_back():
    budget = sign.Budget(rate=10, burst=2)
    assert [budget.take(100.0), budget.take(100.0)] == [0.0, 0.0]
    assert budget.take(100.0) == pytest.approx(0.1)
    assert budget.take(100.05) == pytest.approx(0.05)
    assert budget.take(100.2) == 0.0
    assert budget.take(50.0) == 0.0, "a clock that jumps back takes nothing away"
    assert budget.wait(100.2) == budget.wait(100.2) == pytest.approx(0.1), "asking takes nothing"
