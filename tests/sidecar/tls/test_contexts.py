"""The contexts as OpenSSL uses them: who is believed, which version, that no ticket is given."""

from __future__ import annotations

import ssl

import pytest

from sidewinder_sidecar.tls.certificate import Unfit
from sidewinder_sidecar.tls.contexts import H1, OURS, TCP, Credentials, outside, own
from tests.support.authority import now, trust
from tests.support.identities import forged, identity, named, write


def pair(folder):
    return str(folder / "certificate.pem"), str(folder / "key.pem")


def credentials(folder, epoch=1):
    return Credentials(pair(folder), (folder / "bundle.pem").read_text(), epoch)


def shake(client, server):
    """Both ends' TLS after a handshake in memory. Raises what it ends with."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here, there = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for one in (here, there, here, there):
        try:
            one.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return here, there, down


@pytest.fixture(scope="module")
def by():
    return trust()


@pytest.fixture(scope="module")
def reviews(tmp_path_factory, by):
    return credentials(identity(tmp_path_factory.mktemp("reviews"), by, named("reviews")))


@pytest.fixture(scope="module")
def web(tmp_path_factory, by):
    return credentials(identity(tmp_path_factory.mktemp("web"), by, named("web")), 7)


def test_what_they_say_of_themselves(web):
    assert (web.spiffe_id, web.trust_domain) == ("spiffe://cluster.local/ns/shop/sa/web", "cluster.local")
    assert web.epoch == 7
    assert web.not_before < now().timestamp() < web.not_after
    assert "PRIVATE" not in repr(web)


@pytest.mark.parametrize(("way", "spoken"), [("h1", H1), ("tcp", TCP)])
def test_both_sides_show_a_certificate_and_no_session_is_kept(web, reviews, way, spoken):
    here, there, down = shake(getattr(web, way), reviews.server)
    assert here.version() == there.version() == "TLSv1.3"
    assert here.selected_alpn_protocol() == there.selected_alpn_protocol() == spoken
    assert spoken in OURS
    assert here.getpeercert(True)
    assert there.getpeercert(True)
    assert there.getpeercert() == {}  # uvloop would keep it
    assert down.pending == 0  # a ticket would lie here


def test_who_shows_none_is_refused(reviews):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        shake(client, reviews.server)


def test_another_root_is_refused_by_both(tmp_path, reviews):
    strange = credentials(identity(tmp_path / "strange", trust(), named("web")))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(strange.h1, reviews.server)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(reviews.h1, strange.server)


def test_tls_1_2_is_refused(web, reviews):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(client, reviews.server)


def test_during_a_rotation_either_root_is_believed(tmp_path, by, reviews):
    following = trust()
    both = credentials(identity(tmp_path / "both", by, named("web"), by, following))
    moved = credentials(identity(tmp_path / "moved", following, named("reviews"), following, by))
    shake(both.h1, moved.server)
    shake(moved.h1, both.server)
    shake(both.h1, reviews.server)


def test_our_own_certificate_must_be_one(tmp_path, by):
    (tmp_path / "certificate.pem").write_text("nothing")
    with pytest.raises(Unfit, match=r"certificate\.pem: no certificate"):
        own(str(tmp_path / "certificate.pem"))
    folder = write(tmp_path / "ca", *forged(by, ("spiffe://a/b",), ca=True), by)
    with pytest.raises(Unfit, match="of a CA"):
        credentials(folder)
    with pytest.raises(OSError, match="No such file"):
        own(str(tmp_path / "none.pem"))


def test_to_hosts_outside_the_name_counts(by):
    context = outside(by.pem().decode())
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1
    with pytest.raises(ssl.SSLError):
        outside("no PEM")
