"""The manifest of zero trust under attack, with real proxies: who is not let in is refused, told why, and counted."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from sidewinder_operator.authority import sign
from tests.support import authority, smuggled
from tests.support.moody_issuer import ISSUER, Issuer, Key, issuer
from tests.support.zero_trust import Said, Shop, certified, get, shop, talk

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def idp() -> Iterator[Issuer]:
    with issuer() as running:
        running.client = ("reviews", "a-secret-of-this-example")
        running.opaque["opaque-for-bob"] = {"sub": "bob", "scope": "reviews:read", "groups": ["members"]}
        yield running


@pytest.fixture(scope="module")
def mesh(idp: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), idp) as running:
        good = f"Bearer {idp.token()}"
        running.up.until(lambda: running.from_outside(authorization=good).status == 200, "a member is let in")
        yield running


def lines(mesh: Shop, after: int) -> list[dict[str, object]]:
    """What the access logs have told since then."""
    found = (line.partition("{") for line in mesh.up.lines[after:])
    return [json.loads(f"{{{rest}") for _, brace, rest in found if brace and '"duration_us"' in rest]


def refused(mesh: Shop, said: Said, status: int, policy: str, after: int) -> None:
    """Refused, with a reason in the answer that names no policy, and one in the log that does."""
    assert said.status == status, said
    assert "sidewinder; error=" in said.why, said
    assert "bookinfo/zero-trust" not in said.why + said.body.decode()
    assert "public-api" not in said.why + said.body.decode()
    mesh.up.until(lambda: any(str(line.get("policy", "")).startswith(policy) for line in lines(mesh, after)), policy)


def test_those_who_may_come_in(mesh: Shop, idp: Issuer) -> None:
    """Without this, refusing everybody would be proven."""
    assert mesh.as_page("/reviews/1").status == 200
    assert mesh.from_outside(authorization=f"Bearer {idp.token()}").status == 200
    assert mesh.from_outside(authorization="Bearer opaque-for-bob").status == 200


# ── without a sidecar, by another way ─────────────────────────────────────────────────────────────────────────────────


def test_a_caller_without_a_sidecar(mesh: Shop, idp: Issuer) -> None:
    before, counted = len(mesh.up.lines), mesh.counted("reviews", "sidewinder_policy_decisions_total", kind="mtls")
    said = talk(mesh.port("reviews"), get("/reviews/1", authorization=f"Bearer {idp.token()}"))
    refused(mesh, said, 403, "bookinfo/zero-trust/mtls", before)
    assert "mTLS is required" in said.why
    mesh.up.until(
        lambda: mesh.counted("reviews", "sidewinder_policy_decisions_total", kind="mtls", action="Deny") > counted,
        "it is counted",
    )


@pytest.mark.parametrize(
    "target",
    ["/reviews/1", "http://reviews:9080/reviews/1", "http://ratings:9080/ratings/1", "http://127.0.0.1:9080/reviews/1"],
)
@pytest.mark.parametrize(
    "host", ["reviews", "REVIEWS.bookinfo.svc.cluster.local.", "ratings", "127.0.0.1", "x.example", "localhost:15021"]
)
def test_no_name_gets_around_it(mesh: Shop, host: str, target: str) -> None:
    assert talk(mesh.port("reviews"), get(target, host)).status in (400, 403, 404)


@pytest.mark.parametrize(
    "host",
    [
        "reviews.bookinfo.localhost",
        "REVIEWS.bookinfo.localhost",
        "reviews.bookinfo.svc.cluster.local",
        "reviews.bookinfo",
    ],
)
@pytest.mark.parametrize("target", ["/reviews/1", "http://reviews.bookinfo.localhost/reviews/1"])
def test_nobody_comes_in_from_outside_without_a_token(mesh: Shop, host: str, target: str) -> None:
    assert mesh.from_outside(target, host).status in (403, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/reviews/1"), ("GET", "/admin"), ("GET", "/reviewsx"), ("DELETE", "/reviews/1")],
)
def test_who_may_read_may_nothing_else(mesh: Shop, method: str, path: str) -> None:
    before = len(mesh.up.lines)
    refused(mesh, mesh.as_page(path, method), 403, "bookinfo/zero-trust/defaultAction", before)


def test_a_tunnel_leads_nowhere_else(mesh: Shop) -> None:
    outbound = mesh.port("ratings", "outbound")
    said = talk(outbound, b"CONNECT reviews:9080 HTTP/1.1\r\nHost: reviews:9080\r\n\r\n" + get("/reviews/1"))
    assert b'"application": "reviews"' not in said.body


# ── certificates ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_anothers_certificate_is_anothers(mesh: Shop) -> None:
    """ratings is of the mesh, and no rule names it; productpage is named."""
    before, inbound = len(mesh.up.lines), mesh.port("reviews")
    said = talk(inbound, get("/reviews/1"), certified(mesh.identity("ratings")))
    refused(mesh, said, 403, "bookinfo/zero-trust/defaultAction", before)
    assert talk(inbound, get("/reviews/1"), certified(mesh.identity("productpage"))).status == 200


def stolen(folder: Path, domain: str = "cluster.local", life: dt.timedelta = dt.timedelta(hours=1)) -> Path:
    """The certificate that the caller of the rule would have, of a mesh whose root is not ours."""
    who = sign.Identity(domain, "bookinfo", "productpage", "uid")
    by = authority.trust()
    key, certificate = authority.issued(by, who, life=life)
    for name, content in (("key", key), ("certificate", certificate)):
        (folder / f"{name}.pem").write_text(content)
    return folder


@pytest.mark.parametrize("domain", ["cluster.local", "other.example"])
def test_a_certificate_of_another_mesh(mesh: Shop, tmp_path: Path, domain: str) -> None:
    before = mesh.counted("reviews", "sidewinder_tls_handshakes_total", side="server")
    said = None
    try:
        said = talk(mesh.port("reviews"), get("/reviews/1"), certified(stolen(tmp_path, domain)))
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        pass  # refused before a request was read
    assert said is None or said.status == 0
    mesh.up.until(
        lambda: mesh.counted("reviews", "sidewinder_tls_handshakes_total", side="server") > before, "it is counted"
    )


@pytest.mark.parametrize("alpn", [None, "http/1.1", "h2"], ids=str)
def test_a_good_certificate_over_tls_that_is_not_the_meshs(mesh: Shop, alpn: str | None) -> None:
    """It is the application's own TLS, which Strict refuses: nobody has looked at that certificate."""
    try:
        said = talk(mesh.port("reviews"), get("/reviews/1"), certified(mesh.identity("productpage"), alpn))
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return
    assert said.status == 0


# ── headers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

FORGED = {
    "x_user_id": "root",
    "X_USER_ID": "root",
    "x_forwarded_client_cert": "By=spiffe://cluster.local/ns/bookinfo/sa/reviews;URI=spiffe://cluster.local/ns/bookinfo/sa/productpage",
    "x_sidewinder_identity": "spiffe://cluster.local/ns/bookinfo/sa/productpage",
    "x_forwarded_for": "203.0.113.7",
    "x_real_ip": "203.0.113.7",
    "forwarded": "for=203.0.113.7",
    "x_envoy_external_address": "203.0.113.7",
}


def test_headers_of_ours_that_a_caller_sends(mesh: Shop, idp: Issuer) -> None:
    """Neither the identity nor the office's address is believed; the application sees what was verified."""
    assert mesh.from_outside(**FORGED).status == 403
    said = mesh.from_outside(**FORGED, authorization=f"Bearer {idp.token(sub='ada')}")
    assert said.status == 200
    seen = json.loads(said.body)["headers"]
    assert seen["x-user-id"] == "ada"
    assert "root" not in said.body.decode()
    assert "sa/productpage" not in seen.get("x-forwarded-client-cert", "")


def test_a_caller_of_the_mesh_cannot_say_who_its_user_is(mesh: Shop) -> None:
    said = mesh.as_page("/reviews/1", x_user_id="root", X_User_Id="root")
    assert said.status == 200
    assert "root" not in said.body.decode()


@pytest.mark.parametrize("connection", ["close, x-user-id", "x-user-id, close", "close, X-User-Id"])
def test_nobody_has_the_header_taken_away_that_says_who_it_is(mesh: Shop, idp: Issuer, connection: str) -> None:
    """What `Connection` names goes no further than to us; what we say after that does."""
    said = mesh.from_outside(authorization=f"Bearer {idp.token(sub='ada')}", Connection=connection)
    assert json.loads(said.body)["headers"]["x-user-id"] == "ada"
    assert mesh.from_outside(authorization=f"Bearer {forged(idp, 'expired')}", Connection=connection).status == 401


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("OPTIONS", {}),
        ("OPTIONS", {"origin": "https://shop.example"}),
        ("OPTIONS", {"origin": "https://evil.example", "access_control_request_method": "GET"}),
        ("OPTIONS", {"origin": "https://shop.example", "access_control_request_method": "GET"}),
        ("HEAD", {}),
        ("GET", {"upgrade": "websocket", "connection": "upgrade", "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ=="}),
        ("GET", {"upgrade": "h2c", "connection": "upgrade"}),
    ],
    ids=["options", "no preflight", "foreign preflight", "preflight", "head", "websocket", "h2c"],
)
def test_no_kind_of_request_reaches_the_application(mesh: Shop, method: str, fields: dict[str, str]) -> None:
    """A preflight is answered by the proxy, for it carries no credentials; all else is refused."""
    said = talk(mesh.up.port, get("/reviews/1", "reviews.bookinfo.localhost", method, **fields))
    answered = fields.get("origin") == "https://shop.example" and "access_control_request_method" in fields
    assert said.status in ((200, 204) if answered else (200, 204, 403, 404)), said
    assert b"application" not in said.body
    assert answered or "access-control-allow-origin" not in said.fields or said.status == 403
    assert said.status == 403 or method == "OPTIONS"


@pytest.mark.parametrize(
    "address", ["203.0.113.7", "203.0.113.7, 203.0.113.8", "127.0.0.1, 203.0.113.7", "::ffff:203.0.113.7"]
)
def test_nobody_moves_into_the_office(mesh: Shop, address: str) -> None:
    assert mesh.from_outside(x_forwarded_for=address).status == 403
    assert mesh.as_page("/admin", x_forwarded_for=address).status == 403


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def forged(idp: Issuer, kind: str) -> str:
    """Tokens that are wrong in one way each."""
    now = int(time.time())
    published = idp.keys[-1]
    pem = published.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = {
        "iss": ISSUER,
        "aud": "bookinfo",
        "sub": "root",
        "exp": now + 300,
        "scope": "reviews:read",
        "groups": ["members"],
    }
    own = Key()
    match kind:
        case "another audience":
            return idp.token(aud="another")
        case "no audience":
            return idp.token(aud=None)
        case "another issuer":
            return idp.token(iss="https://evil.example")
        case "expired":
            return idp.token(exp=now - 3600)
        case "no end":
            return idp.token(exp=None)
        case "not yet":
            return idp.token(nbf=now + 3600)
        case "another key":
            return idp.token(own, {"kid": published.id})
        case "a key of its own":
            return idp.token(own, {"jwk": own.public()})
        case "no signature":
            return jwt.encode(claims, None, "none", headers={"kid": published.id})
        case "an empty signature":
            return idp.token().rpartition(".")[0] + "."
        case "the public key as a secret":
            head = {"alg": "HS256", "kid": published.id, "typ": "JWT"}
            return _hmac(head, claims, pem)
        case "another's words":
            head, _, signature = idp.token().split(".")
            return ".".join((head, _part(claims | {"sub": "root"}), signature))
        case "critical":
            return idp.token(headers={"crit": ["exp"], "exp": now})
        case "too long":
            return idp.token(more="x" * 9000)
    raise AssertionError(kind)


def _part(value: object) -> str:
    return jwt.utils.base64url_encode(json.dumps(value).encode()).decode()


def _hmac(head: object, claims: object, secret: bytes) -> str:
    import hashlib
    import hmac

    signed = f"{_part(head)}.{_part(claims)}"
    return f"{signed}.{jwt.utils.base64url_encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode()}"


KINDS = (
    "another audience", "no audience", "another issuer", "expired", "no end", "not yet", "another key",
    "a key of its own", "no signature", "an empty signature", "the public key as a secret", "another's words",
    "critical", "too long",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_is_wrong(mesh: Shop, idp: Issuer, kind: str) -> None:
    before = len(mesh.up.lines)
    counted = mesh.counted("reviews", "sidewinder_policy_decisions_total", kind="authentication", action="Deny")
    said = mesh.from_outside(authorization=f"Bearer {forged(idp, kind)}")
    refused(mesh, said, 400 if kind == "too long" else 401, "bookinfo/public-api", before)
    assert 'error="invalid_' in said.fields["www-authenticate"]
    mesh.up.until(
        lambda: (
            mesh.counted("reviews", "sidewinder_policy_decisions_total", kind="authentication", action="Deny") > counted
        ),
        "it is counted",
    )


def test_a_good_token_of_somebody_who_may_not(mesh: Shop, idp: Issuer) -> None:
    before = len(mesh.up.lines)
    refused(mesh, mesh.from_outside(authorization=f"Bearer {idp.token(groups=['guests'])}"), 403, "bookinfo/", before)
    said = mesh.from_outside(authorization=f"Bearer {idp.token(scope='other')}")
    assert said.status in (401, 403), "the scope that the manifest asks for"


def test_a_wrong_token_spoils_a_good_certificate(mesh: Shop, idp: Issuer) -> None:
    """Optional means that nothing may be sent, not that anything may."""
    assert mesh.as_page("/reviews/1", authorization=f"Bearer {forged(idp, 'another audience')}").status == 401


def test_two_tokens_are_one_too_many(mesh: Shop, idp: Issuer) -> None:
    fields = {"authorization": f"Bearer {idp.token()}", "Authorization": f"Bearer {forged(idp, 'another key')}"}
    assert mesh.from_outside(**fields).status in (400, 401)


# ── paths ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_writing_of_a_path_leads_out_of_what_is_allowed(mesh: Shop) -> None:
    """productpage may read below /reviews. Whatever passes is below it for every server there is."""
    let_in, inbound = [], mesh.port("reviews")
    context = certified(mesh.identity("productpage"))
    for name, path in smuggled.PATHS.items():
        inside = path.replace(b"/open", b"/reviews", 1) if path.startswith(b"/open") else b"/reviews" + path
        request = b"GET %b HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n" % inside
        for said in (talk(inbound, request, context), mesh_call(mesh, inside)):
            assert said.status in (200, 400, 403, 404), (name, said)
            if said.status == 200:
                let_in.append((name, json.loads(said.body)["path"].encode("latin-1").partition(b"?")[0]))
    out = [
        (name, seen, reader)
        for name, seen in let_in
        for reader, read in smuggled.SERVERS.items()
        if not (read(seen) + b"/").startswith(b"/reviews/")
    ]
    assert out == []
    assert len(smuggled.PATHS) >= 300


def mesh_call(mesh: Shop, path: bytes) -> Said:
    """The same through the caller's own proxy."""
    line = b"GET http://reviews:9080%b HTTP/1.1\r\nHost: reviews:9080\r\nConnection: close\r\n\r\n" % path
    return talk(mesh.port("productpage", "outbound"), line)


# ── keys that change, and policies that do ────────────────────────────────────────────────────────────────────────────


def test_keys_that_change_under_load_fail_nobody(mesh: Shop, idp: Issuer) -> None:
    """Tokens of the key before are good throughout; those of the newest as soon as an unknown key may be asked for.

    (Of one that nobody has published yet strangers have asked in earlier tests: the operator asks again after 30 s.)
    """
    old, new = idp.token(), idp.rotate()
    statuses = []

    def taken() -> bool:
        statuses.append(mesh.from_outside(authorization=f"Bearer {old}").status)
        return mesh.from_outside(authorization=f"Bearer {idp.token(new)}").status == 200

    mesh.up.until(taken, "the new key is known", 60)
    statuses += [mesh.from_outside(authorization=f"Bearer {token}").status for token in (old, idp.token(new)) * 20]
    assert set(statuses) == {200}


CONTRADICTION = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: a-rule-against-it, namespace: bookinfo}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  authorization:
    defaultAction: Allow
    rules:
    - {name: everybody, action: Allow, to: [{paths: [{type: PathPrefix, value: /}]}]}
    - {name: not-the-page, action: Deny, from: [{serviceAccounts: [bookinfo/productpage]}]}
"""


def test_policies_that_contradict_each_other_refuse(mesh: Shop) -> None:
    """A Deny anywhere wins, and a policy that cannot be read closes what it is for."""
    place = mesh.up.folder / "contradiction.yaml"

    def becomes(status: int, what: str) -> None:
        mesh.up.until(lambda: mesh.as_page("/reviews/1").status == status, what, 15)

    assert mesh.as_page("/reviews/1").status == 200
    place.write_text(CONTRADICTION)
    becomes(403, "a Deny on the Service beats the Allow of the namespace")
    place.unlink()
    becomes(200, "it is gone")
    place.write_text(CONTRADICTION.replace("action: Deny", "action: Perhaps"))
    becomes(403, "what was never good closes its scope")
    assert "is not valid" in mesh.as_page("/reviews/1").why
    place.unlink()
    becomes(200, "it is gone")
