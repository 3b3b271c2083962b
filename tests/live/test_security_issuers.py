"""Issuers of tokens that are slow, lie, send 10 MB or are away: nobody is let in meanwhile, all are afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.moody_issuer import MOODS, issuer
from tests.support.zero_trust import shop

pytestmark = pytest.mark.live

MOODY = """
apiVersion: v1
kind: Service
metadata: {name: %(mood)s, namespace: moods}
spec: {selector: {app: %(mood)s}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: %(mood)s, namespace: moods, labels: {app: %(mood)s}}
spec: {command: [python3, apps/bookinfo.py, %(mood)s]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: %(mood)s, namespace: moods}
spec:
  targetRefs: [{kind: Service, name: %(mood)s}]
  authentication:
    providers:
    - name: idp
      type: JWT
      jwt:
        issuer: https://idp.example
        audiences: [bookinfo]
        jwks: {type: Remote, remote: {uri: "http://127.0.0.1:%(port)d/%(mood)s/jwks.json", cacheDuration: 30s}}
"""


def test_an_issuer_that_fails_lets_nobody_in_and_is_taken_back(tmp_path: Path) -> None:
    """A good token is no reason to guess. When the issuer is well again, its tokens count; then last good keys stay."""
    with issuer() as idp:
        more = "---".join(MOODY % {"mood": mood, "port": idp.port} for mood in MOODS)
        with shop(tmp_path, idp, more=more) as mesh:
            fields = {"authorization": f"Bearer {idp.token()}"}
            hosts = {mood: f"{mood}.moods.localhost" for mood in MOODS}
            for host in hosts.values():
                said = mesh.from_outside("/", host, **fields)
                assert said.status == 503, (host, said)
                assert "sidewinder; error=" in said.why
                assert mesh.from_outside("/", host).status == 401, "without a token it is no different"
            for mood in MOODS:
                counted = mesh.counted(mood, "sidewinder_policy_decisions_total", kind="authentication", action="Error")
                assert counted >= 1
            idp.healed = True
            idp.release.set()
            for mood, host in hosts.items():
                mesh.up.until(lambda host=host: mesh.from_outside("/", host, **fields).status == 200, mood, 60)
            idp.healed = False
            assert {mesh.from_outside("/", host, **fields).status for host in hosts.values()} == {200}, "last good keys"
