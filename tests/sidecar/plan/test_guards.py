"""guards: what callers must meet, before a route is looked for; on relayed connections; and on every answer."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters import ORDER, RULE
from sidewinder_sidecar.messages import CONNECT, WAIT, Peer
from sidewinder_sidecar.plan import Refused
from sidewinder_sidecar.plan.guards import _SECTIONS, CLOSED, SILENT, Guard
from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    AuthenticationSpec,
    CredentialsSpec,
    JwtProvider,
    KeysSpec,
)
from sidewinder_sidecar.snapshot.authorization import AccessRule, AddressesSpec, AuthorizationSpec, FromSpec
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import CorsSpec, MtlsSpec, PolicySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from tests.support.memory import Scene, backend, service

SHOP = b"https://shop.example"
STRICT = MtlsSpec(mode="Strict", policy="shop/strict")
CORS = CorsSpec(policy="shop/pages", allow_origins=("https://shop.example",))
NOBODY = AuthorizationSpec(policy="shop/nobody", default_action="Deny")
OFFICE = AuthorizationSpec(
    policy="shop/office",
    rules=(AccessRule(name="office", sources=(FromSpec(cidr_lists=("shop/office/v4",)),)),),
)
KEYS = AuthenticationSpec(policy="shop/keys", providers=(ApiKeyProvider(name="keys", credentials="shop/keys"),))
CREDENTIALS = CredentialsSpec(name="shop/keys")


def inbound(policy: str = "", *, rest: str = "") -> tuple:
    """A listener in front of the application's one port, and of all that nobody declared."""
    listener = ListenerSpec(
        name="in", direction="Inbound", address="0.0.0.0", port=15006, services=("in",), pass_through=True, policy=rest
    )
    own = ServiceSpec(name="in", namespace="shop", port=9080, domains=("reviews",), backend="in", policy=policy)
    return listener, own, *backend("in")


def guarded(**sections) -> Scene:
    return Scene(*inbound("p"), PolicySpec(name="p", **sections))


def guard(scene: Scene) -> Guard:
    found = scene.proxy.plan.services["in"].guard
    assert found is not None
    return found


def test_without_a_policy_there_is_no_guard() -> None:
    scene = Scene(*inbound())
    assert scene.proxy.plan.services["in"].guard is None
    assert scene.proxy.plan.listeners["in"].guard is None
    assert scene.proxy.plan.guards == {}


def test_an_empty_policy_asks_nothing() -> None:
    scene = guarded()
    assert (guard(scene).filters, guard(scene).response_filters) == ((), ())
    asked = scene.ask(listener="in")
    scene.attempt().answer(200, b"")
    assert asked.status == 200
    assert guard(scene).admit(Peer("10.0.0.1"), 9080) is None


def test_what_is_closed_lets_nobody_in_and_names_nothing() -> None:
    scene = guarded(closed="shop/zero-trust/authorization")
    asked = scene.ask(listener="in")
    assert asked.status == 403
    assert scene.attempts == 0
    assert CLOSED.encode() in asked.body
    assert b"zero-trust" not in asked.body + (asked.header(b"proxy-status") or b"")
    assert scene.records[0].decision == "closed:shop/zero-trust/authorization"
    refused = guard(scene).admit(Peer("10.0.0.1"), 9080)
    assert refused is not None
    assert refused.decision == "closed:shop/zero-trust/authorization"
    assert scene.fleet.means.decisions == {("closed", "Deny", "shop/zero-trust/authorization"): 2}
    scene.check()


def test_a_guard_stands_before_every_route_and_method() -> None:
    scene = guarded(authorization=(NOBODY,))
    for method, target, upgrade in (
        (b"GET", b"/", b""),
        (b"OPTIONS", b"*", b""),
        (b"CONNECT", b"", b"connect"),
        (b"GET", b"/chat", b"websocket"),
        (b"GET", b"http://elsewhere.example/", b""),
    ):
        assert scene.ask(method, target, listener="in", upgrade=upgrade).status == 403
    assert scene.attempts == 0
    assert {call.decision for call in scene.records} == {"shop/nobody/defaultAction"}
    scene.check()


def test_an_authority_that_no_service_owns_is_guarded_by_the_listener() -> None:
    scene = Scene(*inbound(rest="p"), PolicySpec(name="p", authorization=(NOBODY,)))
    assert scene.ask(listener="in", authority=b"elsewhere:1").status == 403
    scene.ask(listener="in", authority=b"reviews:9080")
    scene.attempt().answer(200, b"")
    assert [call.status for call in scene.records] == [403, 200]
    scene.check()


def test_mtls_is_asked_for_first() -> None:
    scene = guarded(mtls=STRICT, authorization=(NOBODY,), cors=CORS)
    asked = scene.ask(b"OPTIONS", b"/", (b"origin", SHOP), (b"access-control-request-method", b"GET"), listener="in")
    assert asked.status == 403
    assert scene.records[0].decision == "shop/strict/mtls"
    assert guard(scene).admit(Peer("10.0.0.1"), 9080) is not None


def test_a_preflight_needs_no_credentials() -> None:
    sections = {"cors": CORS, "authentication": (KEYS,), "authorization": (NOBODY,)}
    scene = Scene(*inbound("p"), PolicySpec(name="p", **sections), CREDENTIALS)
    asked = scene.ask(b"OPTIONS", b"/", (b"origin", SHOP), (b"access-control-request-method", b"GET"), listener="in")
    assert asked.status == 204
    assert asked.header(b"access-control-allow-origin") == SHOP
    assert scene.attempts == 0
    plain = scene.ask(b"OPTIONS", b"/", (b"origin", SHOP), listener="in")
    assert plain.status == 401
    assert plain.header(b"access-control-allow-origin") == SHOP, "so that the page can read why"
    scene.check()


def test_every_answer_passes_the_guard() -> None:
    scene = guarded(cors=CORS)
    answered = scene.ask(b"GET", b"/", (b"origin", SHOP), listener="in")
    scene.attempt().answer(200, b"ok", (b"Access-Control-Allow-Origin", b"*"))
    failed = scene.ask(b"GET", b"/", (b"origin", SHOP), listener="in")
    scene.attempt().fail(CONNECT, "connect_refused")
    opened = scene.ask(b"GET", b"/", (b"origin", SHOP), listener="in", upgrade=b"websocket")
    scene.attempt().open_tunnel()
    for asked, status in ((answered, 200), (failed, 503), (opened, 101)):
        assert asked.status == status
        assert asked.response.fields.all(b"access-control-allow-origin") == [SHOP]
        assert asked.header(b"vary") == b"Origin"


def test_a_filter_that_waits_is_gone_on_from() -> None:
    scene = guarded(authorization=(AuthorizationSpec(policy="shop/all", default_action="Allow"),))
    walked: list[str] = []

    def waits(call):
        walked.append("waits")
        return WAIT

    def after(call):
        walked.append("after")
        call.request.path = call.request.target = b"/normal"

    own = guard(scene)
    own.filters = (waits, *own.filters, after)
    asked = scene.ask(b"POST", b"//x", listener="in", body=b"kept")
    assert (walked, scene.attempts, asked.paused) == (["waits"], 0, True)
    asked.exchange.resume()
    assert walked == ["waits", "after"]
    assert (scene.attempt().target, scene.attempt().body) == (b"/normal", b"kept")
    scene.attempt().answer(200, b"")
    scene.check()


def test_who_does_not_speak_http_cannot_prove_anything() -> None:
    scene = Scene(*inbound("p"), PolicySpec(name="p", authentication=(KEYS,)), CREDENTIALS)
    refused = guard(scene).admit(Peer("10.0.0.1"), 9080)
    assert refused is not None
    assert (refused.error, refused.detail, refused.decision) == ("denied", SILENT, "shop/keys/authentication")


def test_optional_credentials_leave_a_connection_to_authorization() -> None:
    optional = AuthenticationSpec(policy="shop/keys", credentials="Optional", providers=KEYS.providers)
    policy = PolicySpec(name="p", authentication=(optional,), authorization=(NOBODY,))
    scene = Scene(*inbound("p"), policy, CREDENTIALS)
    refused = guard(scene).admit(Peer("10.0.0.1"), 9080)
    assert refused is not None
    assert refused.decision == "shop/nobody/defaultAction"


MISSING = {
    "policy": ((), "service/in", "policy", "policy/p"),
    "credentials": (
        (PolicySpec(name="p", authentication=(KEYS,)),),
        "policy/p",
        "authentication[0].providers[0].credentials",
        "credentials/shop/keys",
    ),
    "keys": (
        (
            PolicySpec(
                name="p",
                authentication=(
                    AuthenticationSpec(
                        policy="x", providers=(JwtProvider(name="idp", keys="idp", issuer="https://i"),)
                    ),
                ),
            ),
        ),
        "policy/p",
        "authentication[0].providers[0].keys",
        "keys/idp",
    ),
    "addresses": (
        (PolicySpec(name="p", authorization=(NOBODY, OFFICE)),),
        "policy/p",
        "authorization[1].rules[0].sources[0].cidr_lists",
        "addresses/shop/office/v4",
    ),
}


@pytest.mark.parametrize(("given", "resource", "field", "lacks"), MISSING.values(), ids=MISSING)
def test_what_is_named_must_be_there(given: tuple, resource: str, field: str, lacks: str) -> None:
    with pytest.raises(Refused) as refused:
        Scene(*inbound("p"), *given)
    assert (refused.value.resource, refused.value.field) == (resource, field)
    assert lacks in str(refused.value)


def test_what_a_section_finds_wrong_gets_its_place() -> None:
    open_to_all = CorsSpec(allow_origins=("*",), allow_credentials=True)
    with pytest.raises(Refused) as refused:
        guarded(cors=open_to_all)
    assert (refused.value.resource, refused.value.field) == ("policy/p", "cors")


def test_a_guard_is_kept_while_all_that_it_was_made_of_is_the_same() -> None:
    policy = PolicySpec(name="p", authorization=(OFFICE,), authentication=(KEYS,))
    office = AddressesSpec(name="shop/office/v4", cidrs=("192.0.2.0/24",))
    scene = Scene(*inbound("p"), policy, office, CREDENTIALS)
    first, own = guard(scene), scene.proxy.plan.services["in"]
    scene.adopt(*inbound("p"), policy, office, CREDENTIALS, service(name="shop/other:9080"), *backend("other"))
    assert guard(scene) is first
    assert scene.proxy.plan.services["in"] is own
    scene.adopt(*inbound("p"), policy, AddressesSpec(name="shop/office/v4", cidrs=("10.0.0.0/8",)), CREDENTIALS)
    assert guard(scene) is not first
    assert scene.proxy.plan.services["in"] is not own


def test_ports_with_one_policy_have_guards_of_their_own() -> None:
    other = ServiceSpec(name="two", namespace="shop", port=9090, backend="in", policy="p")
    scene = Scene(*inbound("p", rest="p"), other, PolicySpec(name="p", authorization=(NOBODY,)))
    assert sorted(scene.proxy.plan.guards) == [("p", 0), ("p", 9080), ("p", 9090)]


def test_keys_that_are_not_there_yet_are_no_reason_to_refuse_a_snapshot() -> None:
    provider = JwtProvider(name="idp", keys="idp", issuer="https://idp.example")
    section = AuthenticationSpec(policy="shop/idp", providers=(provider,))
    missing = KeysSpec(name="idp", missing="the issuer is away")
    scene = Scene(*inbound("p"), PolicySpec(name="p", authentication=(section,)), missing)
    assert scene.ask(b"GET", b"/", listener="in").status == 401


def test_sections_run_in_the_order_that_the_filters_say() -> None:
    assert (*(name for name, _ in _SECTIONS), RULE) == ORDER
