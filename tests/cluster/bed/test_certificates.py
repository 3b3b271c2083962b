"""Certificates pass strict verification, which Python 3.13 does by default; renewing changes the age alone."""

from __future__ import annotations

import datetime
import ssl
import stat
import sys
import threading
from pathlib import Path
from socket import socketpair

import pytest
from cryptography import x509

from tests.cluster.bed.certificates import Authority, kubeconfig

HOUR = datetime.timedelta(hours=1)


def handshake(folder: Path) -> str | None:
    """What a strict client that knows the authority says to the server's certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "api.crt", folder / "api.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(far, server_side=True).close()
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(near, server_hostname="198.18.255.11").close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        near.close()
        thread.join()
    return None


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path, "ca")
    made.issue("api", "kube-apiserver", "198.18.255.11", "kubernetes.default.svc", group="system:masters")
    return made


def test_a_strict_client_takes_the_certificate(authority: Authority, tmp_path: Path) -> None:
    assert handshake(tmp_path) is None, sys.version
    assert stat.S_IMODE((tmp_path / "api.key").stat().st_mode) == 0o600


def test_renewing_changes_the_validity_alone(authority: Authority, tmp_path: Path) -> None:
    old = x509.load_pem_x509_certificate((tmp_path / "api.crt").read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    Authority(tmp_path, "ca").renew("api", now - 2 * HOUR, now - HOUR)
    new = x509.load_pem_x509_certificate((tmp_path / "api.crt").read_bytes())
    names = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName) for each in (old, new)]
    assert (new.subject, names[1]) == (old.subject, names[0])
    assert new.not_valid_after_utc < now < old.not_valid_after_utc
    assert handshake(tmp_path) == "certificate has expired"


def test_each_user_has_a_token_of_its_own(authority: Authority, tmp_path: Path) -> None:
    for user in ("one", "two"):
        kubeconfig(tmp_path, tmp_path / f"{user}.conf", "https://198.18.255.11:6443", user, "system:masters")
    lines = (tmp_path / "tokens.csv").read_text().splitlines()
    tokens = [line.split(",")[0] for line in lines]
    assert len(set(tokens)) == 2
    assert tokens[0] in (tmp_path / "one.conf").read_text()
    assert lines[1].split(",", 3)[1:] == ["two", "two", '"system:masters"']
