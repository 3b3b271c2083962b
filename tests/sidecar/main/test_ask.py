"""A request and a snapshot in, a decision out: by the engine that judges real requests."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from sidewinder_sidecar.main import ask
from sidewinder_sidecar.main.ask import ADDRESS, CLAIMS, NO_CLAIMS, NO_POLICY, Asked, Mistake, Question, answer
from sidewinder_sidecar.snapshot import encode
from sidewinder_sidecar.snapshot.authentication import AuthenticationSpec, JwtProvider
from sidewinder_sidecar.snapshot.authorization import (
    AccessRule,
    AddressesSpec,
    AuthorizationSpec,
    FromSpec,
    PathCondition,
    ToSpec,
    WhenSpec,
)
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import CorsSpec, MtlsSpec, PolicySpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec

PRODUCTPAGE = "spiffe://cluster.local/ns/bookinfo/sa/productpage"
READ = AccessRule(
    name="pages-read",
    sources=(FromSpec(service_accounts=("bookinfo/productpage",)),),
    targets=(ToSpec(methods=("GET",), paths=(PathCondition("/reviews"),)),),
)
OFFICE = AccessRule(name="office", sources=(FromSpec(cidr_lists=("bookinfo/lists/office",)),))
MEMBERS = AccessRule(name="members", conditions=(WhenSpec(claim="groups", values=("members",)),))
ADMIN = AccessRule(name="no-admin", action="Deny", targets=(ToSpec(paths=(PathCondition("/reviews/admin"),)),))
DIALLED = AccessRule(name="by-port", action="Deny", targets=(ToSpec(ports=(9443,)),))
ZERO_TRUST = AuthorizationSpec(
    policy="bookinfo/zero-trust", default_action="Deny", rules=(READ, OFFICE, MEMBERS, ADMIN, DIALLED)
)
WATCHED = AuthorizationSpec(policy="bookinfo/later", audit=True, default_action="Deny")
TOKENS = AuthenticationSpec(
    policy="bookinfo/tokens", providers=(JwtProvider(name="idp", keys="idp", issuer="https://idp.example"),)
)
POLICY = PolicySpec(name="reviews", path_normalization="Strict", authorization=(ZERO_TRUST,))


def snapshot(policy=POLICY, transparent=True, **listener):
    spec = ListenerSpec(
        name="inbound",
        direction="Inbound",
        address="0.0.0.0",
        port=15006 if transparent else 15000,
        services=("inbound-9080", "inbound-9443") if transparent else (),
        default_service="" if transparent else "inbound-9080",
        pass_through=transparent,
        transparent=transparent,
        policy="rest" if transparent else "",
        **listener,
    )
    made = {
        "proxy/self": ProxySpec(name="reviews", namespace="bookinfo", trust_domain="cluster.local"),
        "listener/inbound": spec,
        "listener/outbound": ListenerSpec(name="outbound", direction="Outbound", address="0.0.0.0", port=15001),
        "policy/reviews": policy,
        "policy/rest": PolicySpec(name="rest", closed="bookinfo/broken/mtls, bookinfo/other/mtls"),
        "addresses/bookinfo/lists/office": AddressesSpec(name="bookinfo/lists/office", cidrs=("203.0.113.0/24",)),
    }
    for port, name in ((9080, "reviews"), (9443, "")):
        made[f"service/inbound-{port}"] = ServiceSpec(
            name=f"inbound-{port}", namespace="bookinfo", port=port, backend=f"inbound-{port}", policy=name
        )
    return {name: msgspec.Raw(encode(body)) for name, body in made.items()}


def told(port=9080, policy=POLICY, listener=None, **request):
    request.setdefault("client", "198.51.100.7")
    return answer(Question(snapshot=snapshot(policy, **(listener or {})), port=port, request=Asked(**request)))


def test_who_may_is_told_by_which_rule():
    found = told(identity=PRODUCTPAGE, path="/reviews/1?x=/admin")
    assert (found.action, found.policy, found.rule, found.status) == ("Allow", "bookinfo/zero-trust", "pages-read", 0)
    assert (found.path, found.assumed, found.audited) == ("/reviews/1", (), ())


def test_who_may_not_is_told_by_which_rule_and_gets_an_answer_that_does_not_say():
    found = told(identity=PRODUCTPAGE, path="/reviews/admin/1")
    assert (found.action, found.policy, found.rule, found.status) == ("Deny", "bookinfo/zero-trust", "no-admin", 403)
    assert "no-admin" not in found.why


def test_nobody_falls_to_the_default():
    found = told(path="/reviews")
    assert (found.action, found.policy, found.rule) == ("Deny", "bookinfo/zero-trust", "defaultAction")


def test_a_path_is_judged_as_it_would_go_on():
    refused = told(identity=PRODUCTPAGE, path="/reviews/%2e%2e/keys")
    assert (refused.action, refused.status, refused.rule) == ("Deny", 400, "pathNormalization")
    merged = told(identity=PRODUCTPAGE, path="/x/%2e%2e/reviews", policy=msgspec.structs.replace(
        POLICY, path_normalization="Merge"))  # fmt: skip
    assert (merged.action, merged.path) == ("Allow", "/reviews")


ADDRESSES = {
    "in the list": ("203.0.113.9", {}, {}, "Allow"),
    "not in the list": ("198.51.100.7", {}, {}, "Deny"),
    "said by one who is not believed": ("198.51.100.7", {"X-Forwarded-For": "203.0.113.9"}, {}, "Deny"),
    "said by one who is": ("198.51.100.7", {"X-Forwarded-For": "203.0.113.9"}, {"trusted_hops": 1}, "Allow"),
    "forged further left": (
        "198.51.100.7",
        {"X-Forwarded-For": "203.0.113.9, 192.0.2.66"},
        {"trusted_hops": 1},
        "Deny",
    ),
}


@pytest.mark.parametrize(("client", "headers", "listener", "action"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_counts_after_the_hops_that_are_believed(client, headers, listener, action):
    assert told(client=client, headers=headers, listener=listener).action == action


def test_without_an_address_that_is_said():
    assert told(client="").assumed == (ADDRESS,)


def test_claims_stand_for_a_token_and_that_is_said():
    policy = msgspec.structs.replace(POLICY, authentication=(TOKENS,))
    found = told(policy=policy, claims={"sub": "ann", "groups": ["members"]})
    assert (found.action, found.rule, found.assumed) == ("Allow", "members", (CLAIMS,))
    found = told(policy=policy, identity=PRODUCTPAGE, path="/reviews")
    assert (found.action, found.status, found.policy) == ("Deny", 401, "bookinfo/tokens")
    assert (found.rule, found.assumed) == ("authentication", (NO_CLAIMS,))
    optional = msgspec.structs.replace(TOKENS, credentials="Optional")
    policy = msgspec.structs.replace(POLICY, authentication=(optional,))
    assert told(policy=policy, identity=PRODUCTPAGE, path="/reviews").action == "Allow"


def test_authentication_alone_asks_for_claims():
    policy = PolicySpec(name="reviews", authentication=(TOKENS,))
    assert told(policy=policy).status == 401
    assert told(policy=policy, claims={}).action == "Allow"


def test_mtls_comes_first():
    strict = MtlsSpec(policy="bookinfo/strict", mode="Strict")
    policy = msgspec.structs.replace(POLICY, mtls=strict, authentication=(TOKENS,))
    found = told(policy=policy, path="/reviews/%2e")
    assert (found.action, found.policy, found.rule, found.why) == (
        "Deny",
        "bookinfo/strict",
        "mtls",
        "mTLS is required",
    )
    assert told(policy=policy, path="/reviews", identity=PRODUCTPAGE).status == 401


def test_a_preflight_is_answered_before_anybody_is_asked_for():
    cors = CorsSpec(allow_origins=("https://shop.example",), allow_methods=("GET",))
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    policy = msgspec.structs.replace(POLICY, cors=cors, authentication=(TOKENS,))
    found = told(policy=policy, method="OPTIONS", headers=headers)
    assert (found.action, found.status) == ("Allow", 204)


def test_what_would_be_refused_is_named_too():
    policy = msgspec.structs.replace(POLICY, authorization=(WATCHED, ZERO_TRUST))
    found = told(policy=policy, identity=PRODUCTPAGE, path="/reviews")
    assert (found.action, found.rule) == ("Allow", "pages-read")
    policy = msgspec.structs.replace(POLICY, authorization=(WATCHED,))
    found = told(policy=policy)
    assert (found.action, found.audited) == ("Allow", ("bookinfo/later (authorization)",))
    assert (found.policy, found.rule) == ("", ""), "who only audits has decided nothing"


def test_the_port_that_is_dialled_decides():
    assert told(port=9443).why == NO_POLICY
    rest = told(port=1234)
    assert (rest.action, rest.policy, rest.rule) == ("Deny", "bookinfo/broken", "closed")
    assert told(port=15000, listener={"transparent": False}, identity=PRODUCTPAGE, path="/reviews").action == "Allow"
    with pytest.raises(Mistake, match="nothing listens on port 9080; there is 15000"):
        told(port=9080, listener={"transparent": False})


def test_a_connection_that_is_relayed_is_judged_by_who_and_where():
    found = told(protocol="TCP", identity=PRODUCTPAGE)
    assert (found.action, found.policy, found.rule) == ("Deny", "bookinfo/zero-trust", "no-admin")
    policy = PolicySpec(name="reviews", authorization=(AuthorizationSpec(policy="a/b", rules=(OFFICE,)),))
    found = told(protocol="TCP", policy=policy, client="203.0.113.1")
    assert (found.action, found.policy, found.rule) == ("Allow", "a/b", OFFICE.name)
    policy = msgspec.structs.replace(policy, authentication=(TOKENS,))
    assert told(protocol="TCP", policy=policy, client="203.0.113.1").policy == "bookinfo/tokens"


MISTAKES = {
    "two lines": ({"path": "/ HTTP/1.1\r\nX: y"}, "is more than one line"),
    "a header of two lines": ({"headers": {"x": "a\r\nb: c"}}, "is more than one line"),
}


@pytest.mark.parametrize(("request_", "why"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_no_request(request_, why):
    with pytest.raises(Mistake, match=why):
        told(**request_)


def test_what_no_caller_could_send_is_refused_as_it_would_be():
    found = told(path="/a b")
    assert (found.action, found.status, found.policy) == ("Deny", 400, "")
    assert told(port=9443, path="/a b").status == 400, "nor where no policy holds"


def test_a_snapshot_that_a_proxy_would_refuse_is_refused():
    whole = snapshot()
    del whole["policy/reviews"]
    with pytest.raises(Mistake, match=r"the proxy would refuse this snapshot: .*policy"):
        answer(Question(snapshot=whole, port=9080))
    with pytest.raises(Mistake, match="no inbound listener"):
        answer(Question(snapshot={"proxy/self": whole["proxy/self"]}, port=9080))
    whole["policy/reviews"] = msgspec.Raw(b'{"name":"reviews","odd":1}')
    with pytest.raises(Mistake, match=r"policy/reviews: .*odd"):
        answer(Question(snapshot=whole, port=9080))


def process(raw, *words):
    command = [sys.executable, "-c", "from sidewinder_sidecar.main import main; main()", "ask", *words]
    return subprocess.run(command, input=raw, capture_output=True, timeout=60, check=False)


def test_as_a_process():
    question = {"snapshot": snapshot(), "port": 9080, "request": {"identity": PRODUCTPAGE, "path": "/reviews"}}
    done = process(msgspec.json.encode(question))
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["rule"] == "pages-read"


def test_as_a_process_that_cannot_answer():
    done = process(b'{"snapshot": {}}')
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"sidewinder-sidecar ask: " in done.stderr
    assert b"port" in done.stderr


def test_words_are_no_question(capsys):
    assert ask.main(["x"]) == 2
    assert "JSON on standard input" in capsys.readouterr().err
