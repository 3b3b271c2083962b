"""What a certificate says, and every way in which it may not hold."""

import datetime as dt
import ssl

import pytest

from sidewinder_operator.authority import root as roots
from sidewinder_sidecar.identity import leaf
from sidewinder_sidecar.identity.leaf import Unfit, examine, split, trusting
from tests.support.authority import POD, SPIFFE_ID, issued, now, trust


@pytest.fixture(scope="module")
def ours():
    return trust()


def written(tmp_path, key, certificate):
    (tmp_path / "c.pem").write_text(certificate)
    (tmp_path / "k.pem").write_text(key)
    return str(tmp_path / "c.pem"), str(tmp_path / "k.pem")


def pem(*trusted):
    return b"".join(each.pem() for each in trusted).decode()


def test_what_it_says(tmp_path, ours):
    began = now().replace(microsecond=0)
    found = examine(*written(tmp_path, *issued(ours, begins=began)), pem(ours))
    assert found.spiffe_id == SPIFFE_ID
    assert found.subject == POD.name
    assert int(found.serial, 16) > 0
    assert found.not_before == (began - roots.BACKDATED).timestamp()
    assert found.not_after == (began + dt.timedelta(hours=24)).timestamp()


def test_one_that_has_ended_is_told_too(tmp_path, ours):
    found = examine(*written(tmp_path, *issued(ours, begins=now() - dt.timedelta(days=3))), pem(ours))
    assert found.not_after < now().timestamp()


def test_any_root_of_the_bundle_will_do(tmp_path, ours):
    assert examine(*written(tmp_path, *issued(ours)), pem(trust(), ours)).spiffe_id == SPIFFE_ID


def test_a_stranger_has_signed_it(tmp_path, ours):
    with pytest.raises(Unfit, match="unable to get local issuer certificate"):
        examine(*written(tmp_path, *issued(ours)), pem(trust()))


def test_the_key_is_another_ones(tmp_path, ours):
    (key, _), (_, certificate) = issued(ours), issued(ours)
    with pytest.raises(Unfit, match=r"k\.pem is not its key"):
        examine(*written(tmp_path, key, certificate), pem(ours))


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_pem_is_told(tmp_path, ours, part, content):
    pair = list(issued(ours))
    pair[part] = content
    with pytest.raises(Unfit, match=r"c\.pem: no certificate, or .*k\.pem no key, in PEM"):
        examine(*written(tmp_path, *pair), pem(ours))


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_a_file_is_told(tmp_path, ours, part, share):
    pair = list(issued(ours))
    pair[part] = pair[part][: int(len(pair[part]) * share)]
    with pytest.raises(Unfit):
        examine(*written(tmp_path, *pair), pem(ours))


def test_an_encrypted_key_asks_nobody(tmp_path, ours):
    from cryptography.hazmat.primitives import serialization

    key, certificate = issued(ours)
    locked = serialization.load_pem_private_key(key.encode(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(Unfit):
        examine(*written(tmp_path, locked.decode(), certificate), pem(ours))


def test_files_that_are_not_there(tmp_path, ours):
    with pytest.raises(Unfit, match=r"c\.pem.*k\.pem: No such file"):
        examine(str(tmp_path / "c.pem"), str(tmp_path / "k.pem"), pem(ours))


def test_a_root_is_no_leaf(tmp_path, ours):
    """It has a SPIFFE ID, but none of a workload; OpenSSL itself refuses its key usage."""
    data = roots.dump(ours)
    with pytest.raises(Unfit):
        examine(*written(tmp_path, data["ca.key"].decode(), data["ca.crt"].decode()), pem(ours))


def test_a_bundle_is_taken_apart(ours):
    other = trust()
    text = f"# from the operator\n{pem(ours)}\n\nin between\n{pem(other)}"
    assert [part.strip() for part in split(text)] == [pem(ours).strip(), pem(other).strip()]
    assert len(trusting(text).get_ca_certs()) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\n", "no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ],
)
def test_a_bundle_that_is_none(text, why):
    with pytest.raises(Unfit, match=why):
        trusting(text)


def test_a_bundle_of_too_many(ours):
    with pytest.raises(Unfit, match="has 65 certificates"):
        split(pem(*[ours] * 65))


def test_the_roots_have_names(ours):
    (found,) = leaf.roots(pem(ours))
    certificate = ours.signing.certificate
    assert found.name == f"Sidewinder, cluster.local {now():%Y-%m-%d}"
    assert found.sha256.startswith(roots.fingerprint(certificate))
    assert found.not_after == certificate.not_valid_after_utc.timestamp()


def test_a_leaf_is_no_root(ours):
    _, certificate = issued(ours)
    with pytest.raises(Unfit, match="none of a CA"):
        leaf.roots(certificate)


def test_nothing_older_than_tls_13(ours):
    context = trusting(pem(ours))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
