"""Roots: what is made is accepted by Python's strict verification, what is wrong is named, rotation loses nobody."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sidewinder_operator.authority import root

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def own(key=None, *, ca=True, critical=True, sign=True, ski=True, start=NOW - DAY, end=NOW + DAY):
    """A root as a user might bring it: PEM of certificate and key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mine")])
    usage = x509.KeyUsage(not sign, False, False, False, False, sign, False, False, False)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(start).not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, None), critical).add_extension(usage, critical)
    )  # fmt: skip
    if ski:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), text


def test_a_created_root_survives_the_secret():
    trust = root.Trust(root.create("cluster.local", NOW))
    again = root.load(root.dump(trust), NOW)
    assert again.bundle == trust.bundle
    assert again.signing.key.private_numbers() == trust.signing.key.private_numbers()
    assert "PRIVATE" not in repr(again)


def test_a_good_root_of_the_users_own_is_taken():
    certificate, key = own()
    assert (
        root.load({"ca.crt": certificate, "ca.key": key}, NOW).signing.certificate.subject.rfc4514_string() == "CN=mine"
    )


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"ca": False}, "not a CA"),
        ({"critical": False}, "critical basicConstraints"),
        ({"sign": False}, "keyCertSign"),
        ({"ski": False}, "subjectKeyIdentifier"),
        ({"end": NOW - dt.timedelta(hours=1)}, "expired on 2029-12-31"),
        ({"start": NOW + dt.timedelta(hours=1)}, "is the clock right"),
        ({"key": rsa.generate_private_key(65537, 2048)}, "EC key on P-256"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_what_is_wrong_with_a_users_root_is_named(bad, told):
    certificate, key = own(**bad)
    with pytest.raises(root.Unfit, match=told):
        root.load({"ca.crt": certificate, "ca.key": key}, NOW)


def test_every_fault_is_told_at_once():
    certificate, _ = own(ca=False, ski=False)
    with pytest.raises(root.Unfit) as caught:
        root.load({"ca.crt": certificate, "ca.key": b"no key", "old.crt": b"no certificate"}, NOW)
    told = str(caught.value)
    assert all(
        part in told for part in ("not a CA", "subjectKeyIdentifier", "ca.key: no unencrypted", "old.crt: no PEM")
    )


@pytest.mark.parametrize("data", [{}, {"ca.crt": b"x"}, {"ca.crt": b"\x00", "ca.key": b"\xff"}], ids=str)
def test_an_empty_or_binary_secret_is_refused(data):
    with pytest.raises(root.Unfit, match=r"ca\."):
        root.load(data, NOW)


def test_a_key_of_another_certificate_is_refused():
    certificate, _ = own()
    _, key = own()
    with pytest.raises(root.Unfit, match=r"not the key of ca\.crt"):
        root.load({"ca.crt": certificate, "ca.key": key}, NOW)


def test_rotation_keeps_every_root_trusted_until_it_is_forgotten():
    first, second = root.create("a", NOW), root.create("a", NOW)
    trust = root.Trust(first)
    announced = root.announce(trust, second)
    assert announced.signing == first
    assert announced.bundle == (first.certificate, second.certificate)
    with pytest.raises(root.Unfit, match="announced already"):
        root.announce(announced, second)
    switched = root.switch(announced)
    assert switched.signing == second
    assert switched.bundle == (second.certificate, first.certificate)
    assert root.load(root.dump(switched), NOW).bundle == switched.bundle
    assert root.forget(switched).bundle == (second.certificate,)
    with pytest.raises(root.Unfit, match="no next root"):
        root.switch(switched)


def test_an_old_root_that_has_expired_is_dropped_without_a_fault():
    old, signing = root.create("a", NOW - 2 * DAY, DAY), root.create("a", NOW)
    trust = root.Trust(signing, None, (old.certificate,))
    assert root.load(root.dump(trust), NOW).old == ()
