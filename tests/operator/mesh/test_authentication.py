"""MeshAuthentication prints nothing of a Secret."""

from __future__ import annotations

from sidewinder_operator.mesh.authentication import MeshAuthentication
from sidewinder_sidecar.snapshot.authentication import Credential, CredentialsSpec


def test_nothing_of_a_secret_is_printed() -> None:
    secret = CredentialsSpec(name="shop/idp/client", credentials=(Credential(id="me", plain="hush", hash="hash"),))
    section = MeshAuthentication(secrets=(secret,))
    for shown in (repr(section), str(section), repr((section,)), repr(secret)):
        assert "hush" not in shown
        assert "'hash'" not in shown
