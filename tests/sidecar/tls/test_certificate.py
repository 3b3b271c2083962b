"""What a leaf may say and what not: wrong in every way, with `cryptography` as the oracle; and bytes that are none."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority import sign
from sidewinder_sidecar.tls.certificate import LARGEST, Unfit, read, spiffe
from tests.support.authority import trust

ID = "spiffe://cluster.local/ns/shop/sa/reviews"
KEY = ec.generate_private_key(ec.SECP256R1())
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
UNSAID = dict.fromkeys(
    ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
    False,
)


def der(*extensions, key=KEY, begins=NOON, ends=NOON + DAY, serial=7):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(serial).not_valid_before(begins).not_valid_after(ends)
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def usage(**bits):
    return x509.KeyUsage(**({"digital_signature": True, "key_cert_sign": False, "crl_sign": False} | UNSAID | bits))


def named(*uris, dns=()):
    return x509.SubjectAlternativeName([*map(x509.DNSName, dns), *map(x509.UniformResourceIdentifier, uris)])


def constraints(ca):
    return x509.BasicConstraints(ca=ca, path_length=None)


RIGHT = (constraints(False), usage(), named(ID))


def test_what_our_own_authority_signs():
    by = trust()
    who = sign.Identity("cluster.local", "shop", "reviews", "5f3c1a52")
    made = sign.leaf(KEY.public_key(), who, by, NOON.replace(year=2027), names=("reviews.shop",))
    found = read(made.public_bytes(serialization.Encoding.DER))
    assert (found.spiffe_id, found.trust_domain) == (ID, "cluster.local")
    assert found.not_before == made.not_valid_before_utc.timestamp()
    assert found.not_after == made.not_valid_after_utc.timestamp()


@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 3072)], ids=["P-256", "RSA"])
@pytest.mark.parametrize("serial", [1, 2**150], ids=["short", "long"])
def test_any_key_and_serial(key, serial):
    assert read(der(*RIGHT, key=key, serial=serial)).spiffe_id == ID


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (dt.datetime(1950, 1, 1), dt.datetime(2049, 12, 31, 23, 59, 59)),
        (dt.datetime(2049, 12, 31), dt.datetime(2050, 1, 1)),
        (dt.datetime(2050, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59)),
    ],
    ids=["UTCTime", "one of each", "GeneralizedTime"],
)
def test_times_of_either_form(begins, ends):
    found = read(der(*RIGHT, begins=begins, ends=ends))
    assert found.not_before == begins.replace(tzinfo=dt.UTC).timestamp()
    assert found.not_after == ends.replace(tzinfo=dt.UTC).timestamp()


WRONG = {
    "no names": (constraints(False), usage()),
    "a DNS name alone": (constraints(False), usage(), named(dns=("reviews",))),
    "two SPIFFE IDs": (constraints(False), usage(), named(ID, ID + "2")),
    "a SPIFFE ID and another URI": (constraints(False), usage(), named(ID, "https://reviews")),
    "another URI": (constraints(False), usage(), named("https://reviews/a")),
    "a CA": (constraints(True), usage(), named(ID)),
    "a CA that signs": (constraints(True), usage(key_cert_sign=True), named(ID)),
    "no key usage": (constraints(False), named(ID)),
    "a key that may not sign": (constraints(False), usage(digital_signature=False, key_agreement=True), named(ID)),
    "a key that signs certificates": (constraints(False), usage(key_cert_sign=True), named(ID)),
    "a key that signs revocations": (constraints(False), usage(crl_sign=True), named(ID)),
    "no extensions": (),
    "more extensions than anybody has": (
        *RIGHT,
        *(x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{n}"), b"\x05\x00") for n in range(80)),
    ),
    "larger than any": (
        *RIGHT,
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04" * LARGEST),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_who_stands_for_nobody(case):
    with pytest.raises(Unfit):
        read(der(*WRONG[case]))


def test_names_of_other_kinds_do_not_matter():
    assert read(der(usage(), named(ID, dns=("reviews", "reviews.shop")))).spiffe_id == ID


def test_a_root_is_no_leaf():
    made = roots.create("cluster.local", NOON).certificate
    with pytest.raises(Unfit):
        read(made.public_bytes(serialization.Encoding.DER))


IDS = {
    "spiffe://cluster.local/ns/a/sa/b": True,
    "spiffe://a/b": True,
    "spiffe://a-b_c.d/B.c_d-E/1": True,
    "spiffe://" + "d" * 255 + "/a": True,
    "spiffe://a/" + "b" * (2048 - 11): True,
    "spiffe://a/" + "b" * (2048 - 10): False,
    "spiffe://" + "d" * 256 + "/a": False,
    "spiffe://cluster.local": False,
    "spiffe://cluster.local/": False,
    "spiffe:///ns/a": False,
    "spiffe://Cluster.local/a": False,
    "SPIFFE://cluster.local/a": False,
    "spiffe://cluster.local:80/a": False,
    "spiffe://u@cluster.local/a": False,
    "spiffe://u:p@cluster.local/a": False,
    "spiffe://cluster.local/a/": False,
    "spiffe://cluster.local//a": False,
    "spiffe://cluster.local/a//b": False,
    "spiffe://cluster.local/./a": False,
    "spiffe://cluster.local/a/..": False,
    "spiffe://cluster.local/../a": False,
    "spiffe://cluster.local/a/.": False,
    "spiffe://cluster.local/...": True,
    "spiffe://cluster.local/a?b": False,
    "spiffe://cluster.local/a#b": False,
    "spiffe://cluster.local/a%20b": False,
    "spiffe://cluster.local/a b": False,
    "spiffe://cluster.local/a\n": False,
    "spiffe://cluster.local/a\0b": False,
    "spiffe://cluster.local/ä": False,
    "spiffe:/cluster.local/a": False,
    "https://cluster.local/a": False,
    "": False,
}


@pytest.mark.parametrize(("uri", "right"), IDS.items(), ids=[repr(uri[:40]) for uri in IDS])
def test_how_a_spiffe_id_is_written(uri, right):
    if right:
        assert spiffe(uri.encode())[0] == uri
    else:
        with pytest.raises(Unfit):
            spiffe(uri.encode())


def test_every_cut_is_refused():
    whole = der(*RIGHT)
    for size in range(len(whole)):
        with pytest.raises(Unfit):
            read(whole[:size])
    with pytest.raises(Unfit, match="follow"):
        read(whole + b"\0")


def test_broken_bytes_raise_nothing_else_and_name_nobody_new():
    dice = random.Random(6)
    whole = der(*RIGHT)
    names = set()
    for _ in range(20_000):
        raw = bytearray(whole)
        for _ in range(dice.choice((1, 1, 1, 2, 8))):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        try:
            names.add(read(bytes(raw)).spiffe_id)
        except Unfit:
            continue
    # a byte of the name itself may be another letter: OpenSSL refuses its signature
    assert all(spiffe(name.encode()) for name in names)


def test_noise_is_refused():
    dice = random.Random(7)
    for _ in range(2_000):
        with pytest.raises(Unfit):
            read(dice.randbytes(dice.randrange(0, 400)))
    with pytest.raises(Unfit):
        read(b"\x30\x84\x00\x00\x00\x02\x30\x00")
    with pytest.raises(Unfit):
        read(b"\x30\x81\x02\x30\x00")  # longer than it need be
