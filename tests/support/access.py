"""Authorization as a person would work it out, rule by rule, to hold the sidecar's engine against; and rules at random.

Nothing here is shared with the engine: addresses are `ipaddress`'s, paths are split, conditions compared one by one.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from sidewinder_sidecar.filters import context
from sidewinder_sidecar.filters.authorize import Authorizer
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Call, Peer
from sidewinder_sidecar.snapshot.authorization import (
    AccessRule,
    AddressesSpec,
    AuthorizationSpec,
    FromSpec,
    PathCondition,
    ToSpec,
    WhenSpec,
)
from sidewinder_sidecar.wheel import Wheel
from tests.support.calls import call

TRUST_DOMAIN = "cluster.local"


class Context(context.Context):
    """What authorization is given; `counted` is what was counted."""

    def __init__(self, addresses: Mapping[str, AddressesSpec] | None = None, trust_domain: str = TRUST_DOMAIN) -> None:
        wheel = Wheel(lambda: 0.0, lambda seconds, call: None)
        super().__init__(Means(), wheel, {}, {}, addresses or {}, trust_domain)
        self.counted: list[tuple[str, str, str]] = []
        self.count = lambda kind, action, policy: self.counted.append((kind, action, policy))


def section(*rules: AccessRule, policy: str = "shop/policy", **more: Any) -> AuthorizationSpec:
    return AuthorizationSpec(policy=policy, rules=rules, **more)


def authorizer(*rules: AccessRule, port: int = 9080, **more: Any) -> Authorizer:
    """Of one section without lists."""
    return Authorizer((section(*rules, **more),), TRUST_DOMAIN, {}, port, lambda kind, action, policy: None)


def account(name: str, trust_domain: str = TRUST_DOMAIN) -> str:
    """`shop/cart` → its SPIFFE ID."""
    namespace, _, own = name.partition("/")
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{own}"


class Asked(NamedTuple):
    """One request, or one connection (method "")."""

    identity: str = ""
    client: str = "192.0.2.7"
    peer: str = "192.0.2.7"
    method: str = "GET"
    path: str = "/"
    host: str = "shop.example"
    port: int = 9080
    headers: tuple[tuple[str, str], ...] = ()
    claims: Mapping[str, Any] | None = None

    def of_peer(self) -> Peer:
        peer = Peer(self.peer, 40000, secure=bool(self.identity), identity=self.identity)
        peer.client = self.client
        peer.destination = ("192.0.2.9", self.port)
        return peer

    def call(self) -> Call:
        rows = [(name.encode(), value.encode()) for name, value in self.headers]
        made = call(
            self.path.encode(),
            *rows,
            method=self.method.encode(),
            authority=self.host.encode(),
            peer=self.of_peer(),
        )
        made.attributes = None if self.claims is None else {"claims": self.claims}
        return made


class Found(NamedTuple):
    """What was decided, as the log has it."""

    allowed: bool
    decision: str


def decide(sections: tuple[AuthorizationSpec, ...], asked: Asked, lists: Mapping[str, tuple[str, ...]]) -> Found:
    """Deny, Allow, default; then once more with the Audit sections among them, if it passed."""
    enforced = tuple(each for each in sections if not each.audit)
    found = _decide(enforced, asked, lists) if enforced else Found(True, "")
    if not found.allowed or len(enforced) == len(sections):
        return found
    deny = _first(tuple(each for each in sections if each.audit), "Deny", asked, lists)
    if deny:
        return Found(True, f"audit:{deny}")
    if _first(sections, "Allow", asked, lists):
        return found
    whole = _default(sections)
    return found if whole.allowed else Found(True, f"audit:{whole.decision}")


def _decide(sections: tuple[AuthorizationSpec, ...], asked: Asked, lists: Mapping[str, tuple[str, ...]]) -> Found:
    if deny := _first(sections, "Deny", asked, lists):
        return Found(False, deny)
    if allow := _first(sections, "Allow", asked, lists):
        return Found(True, allow)
    return _default(sections)


def _default(sections: tuple[AuthorizationSpec, ...]) -> Found:
    said = [each for each in sections if each.default_action]
    last = said[-1] if said else sections[-1]
    return Found(last.default_action == "Allow", f"{last.policy}/defaultAction")


def _first(
    sections: tuple[AuthorizationSpec, ...], action: str, asked: Asked, lists: Mapping[str, tuple[str, ...]]
) -> str:
    for each in sections:
        for rule in each.rules:
            if rule.action == action and holds(rule, asked, lists):
                return f"{each.policy}/{rule.name}"
    return ""


def holds(rule: AccessRule, asked: Asked, lists: Mapping[str, tuple[str, ...]]) -> bool:
    """Does the rule take it?"""
    deny = rule.action == "Deny"
    if rule.sources and not any(_from(source, asked, deny, lists) for source in rule.sources):
        return False
    if asked.method:
        return (not rule.targets or any(_to(target, asked, deny) for target in rule.targets)) and all(
            _when(condition, asked, deny) for condition in rule.conditions
        )
    if deny:
        return not rule.targets or any(_port(target, asked.port) for target in rule.targets)
    if rule.conditions:
        return False
    return not rule.targets or any(
        _port(target, asked.port) and target == ToSpec(ports=target.ports, not_ports=target.not_ports)
        for target in rule.targets
    )


def _from(spec: FromSpec, asked: Asked, deny: bool, lists: Mapping[str, tuple[str, ...]]) -> bool:
    name = namespace = ""
    words = asked.identity.split("/")
    if words[:4] == ["spiffe:", "", TRUST_DOMAIN, "ns"] and len(words) == 7 and words[5] == "sa":
        name, namespace = f"{words[4]}/{words[6]}", words[4]

    def named(wanted: Iterable[str], refused: Iterable[str], own: str) -> bool:
        def among(names: Iterable[str]) -> bool:
            return any(own.startswith(each[:-1]) if each.endswith("*") else own == each for each in names)

        return (not wanted or (own != "" and among(wanted))) and (
            not refused or (deny if own == "" else not among(refused))
        )

    def placed(cidrs: tuple[str, ...], more: tuple[str, ...], text: str) -> bool | None:
        networks = [*cidrs, *(cidr for each in more for cidr in lists[each])]
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in ipaddress.ip_network(each) for each in networks)

    def at(cidrs: tuple[str, ...], more: tuple[str, ...], text: str, wanted: bool) -> bool:
        if not cidrs and not more:
            return True
        found = placed(cidrs, more, text)
        return deny if found is None else found == wanted

    return (
        named(spec.service_accounts, spec.not_service_accounts, name)
        and named(spec.namespaces, spec.not_namespaces, namespace)
        and named(spec.spiffe_ids, spec.not_spiffe_ids, asked.identity)
        and at(spec.cidrs, spec.cidr_lists, asked.client, True)
        and at(spec.not_cidrs, spec.not_cidr_lists, asked.client, False)
        and at(spec.peer_cidrs, spec.peer_cidr_lists, asked.peer, True)
        and at(spec.not_peer_cidrs, spec.not_peer_cidr_lists, asked.peer, False)
    )


def _port(spec: ToSpec, port: int) -> bool:
    return (not spec.ports or port in spec.ports) and port not in spec.not_ports


def _to(spec: ToSpec, asked: Asked, deny: bool) -> bool:
    host = asked.host.rsplit(":", 1)[0].lower().rstrip(".")

    def hosted(names: Iterable[str]) -> bool:
        return any(host.endswith(name[1:]) and host != name[1:] if name[:2] == "*." else host == name for name in names)

    def pathed(conditions: Iterable[PathCondition]) -> bool:
        return any(_path(condition, asked.path) for condition in conditions)

    if not _port(spec, asked.port) or (spec.methods and asked.method not in spec.methods):
        return False
    if asked.method in spec.not_methods:
        return False
    if not host and (spec.hosts or spec.not_hosts) and not deny:
        return False
    if host and ((spec.hosts and not hosted(spec.hosts)) or hosted(spec.not_hosts)):
        return False
    if asked.path.startswith("/"):
        return not (spec.paths and not pathed(spec.paths)) and not pathed(spec.not_paths)
    everything = any(each.type == "PathPrefix" and each.value == "/" for each in spec.paths)
    return deny or ((not spec.paths or everything) and not spec.not_paths)


def _path(condition: PathCondition, path: str) -> bool:
    if condition.type == "Exact":
        return path == condition.value
    wanted = condition.value.rstrip("/").split("/")
    return path.split("/")[: len(wanted)] == wanted


def _when(spec: WhenSpec, asked: Asked, deny: bool) -> bool:
    if spec.claim:
        value: Any = asked.claims or {}
        for word in [spec.claim] if spec.claim in value else spec.claim.split("."):
            value = value.get(word) if isinstance(value, dict) else None
        there = value is not None
        members = value if isinstance(value, list) else [value]
        hit = any(member in spec.values for member in members)
        lines = [hit]
    else:
        found = [value for name, value in asked.headers if name == spec.header]
        there = bool(found)
        lines = [line in spec.values for line in found]
        if deny == (spec.operator == "In"):
            lines += [member.strip() in spec.values for line in found for member in line.split(",")]
    match spec.operator:
        case "Exists":
            return there
        case "NotExists":
            return not there
        case "In":
            return there and (any(lines) if deny else all(lines))
        case _:
            return (not there or not all(lines)) if deny else there and not any(lines)


# What callers and rules are drawn from: few enough to meet each other often.
IDENTITIES = ["", account("shop/a"), account("shop/b"), account("bank/a"), "spiffe://other.org/ns/shop/sa/a"]
IDENTITIES += ["spiffe://cluster.local/operator"]
ADDRESSES = ["10.1.2.3", "10.1.9.9", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8::7", "2001:db8:1::7", "", "unknown"]
CIDRS = ["10.0.0.0/8", "10.1.2.0/24", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::/48", "::/0"]
LISTS = {"shop/lists/one": ("10.1.0.0/16", "2001:db8:1::/48"), "shop/lists/two": ("192.0.2.0/24",)}
PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/c"]
VALUES = ["x", "y", "z"]


def some(values: list[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    """None of them, one, or so many."""
    return st.sampled_from([each for size in range(most + 1) for each in itertools.combinations(values, size)])


def few(values: list[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """One of them or two."""
    return st.sampled_from([each for size in (1, 2) for each in itertools.combinations(values, size)])


def seldom(values: list[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Mostly none."""
    return st.sampled_from([(), *((value,) for value in values), *[()] * (2 * len(values))])


_IDS = ["spiffe://cluster.local/*", account("shop/a"), "spiffe://other.org/ns/*", "spiffe://cluster.local/ns/shop*"]
sources = st.builds(
    FromSpec,
    service_accounts=seldom(["shop/a", "shop/b", "bank/a"]),
    namespaces=seldom(["shop", "bank"]),
    spiffe_ids=seldom(_IDS),
    cidrs=seldom(CIDRS),
    cidr_lists=seldom(list(LISTS)),
    peer_cidrs=seldom(CIDRS),
    peer_cidr_lists=seldom(list(LISTS)),
    not_service_accounts=seldom(["shop/a", "bank/a"]),
    not_namespaces=seldom(["shop", "bank"]),
    not_spiffe_ids=seldom(_IDS),
    not_cidrs=seldom(CIDRS),
    not_cidr_lists=seldom(list(LISTS)),
    not_peer_cidrs=seldom(CIDRS),
    not_peer_cidr_lists=seldom(list(LISTS)),
)
_conditions = [PathCondition(value, kind) for value in PATHS for kind in ("Exact", "PathPrefix")]
targets = st.builds(
    ToSpec,
    methods=seldom(["GET", "POST"]),
    paths=some(_conditions),
    hosts=seldom(["shop.example", "*.example", "*.shop.example"]),
    ports=seldom([9080, 9090]),
    not_methods=seldom(["GET", "POST"]),
    not_paths=seldom(_conditions),
    not_hosts=seldom(["shop.example", "*.example"]),
    not_ports=seldom([9080, 9090]),
)
conditions = st.one_of(
    st.builds(
        WhenSpec,
        claim=st.sampled_from(["groups", "realm.roles"]),
        operator=st.sampled_from(["In", "NotIn"]),
        values=few(VALUES),
    ),
    st.builds(
        WhenSpec,
        header=st.sampled_from(["x-one", "x-two"]),
        operator=st.sampled_from(["In", "NotIn"]),
        values=few([*VALUES, "x, y"]),
    ),
    st.builds(
        WhenSpec,
        header=st.sampled_from(["x-one", "x-two"]),
        operator=st.sampled_from(["Exists", "NotExists"]),
    ),
    st.builds(WhenSpec, claim=st.just("groups"), operator=st.sampled_from(["Exists", "NotExists"])),
)
rules = st.builds(
    AccessRule,
    name=st.sampled_from(["r1", "r2", "r3"]),
    action=st.sampled_from(["Allow", "Deny"]),
    sources=st.lists(sources, max_size=2).map(tuple),
    targets=st.lists(targets, max_size=2).map(tuple),
    conditions=st.lists(conditions, max_size=3).map(tuple),
)
sections = st.lists(
    st.builds(
        AuthorizationSpec,
        policy=st.sampled_from(["shop/p1", "shop/p2", "bank/p3"]),
        audit=st.sampled_from([False, False, True]),
        default_action=st.sampled_from([None, "Allow", "Deny"]),
        rules=st.lists(rules, max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
requests = st.builds(
    Asked,
    identity=st.sampled_from(IDENTITIES),
    client=st.sampled_from(ADDRESSES),
    peer=st.sampled_from(ADDRESSES),
    method=st.sampled_from(["GET", "GET", "POST", "OPTIONS", ""]),
    path=st.sampled_from([*PATHS, "/a/b/", "/zz", "*"]),
    host=st.sampled_from(["shop.example", "SHOP.example.:9080", "a.shop.example:80", "other", ""]),
    port=st.sampled_from([9080, 9090, 7]),
    headers=st.lists(
        st.tuples(st.sampled_from(["x-one", "x-two"]), st.sampled_from([*VALUES, "x, y", "y,x", "none"])), max_size=3
    ).map(tuple),
    claims=st.one_of(
        st.none(),
        st.fixed_dictionaries(
            {},
            optional={
                "groups": st.one_of(st.sampled_from(VALUES), st.lists(st.sampled_from(VALUES), max_size=2)),
                "realm": st.fixed_dictionaries({"roles": st.lists(st.sampled_from(VALUES), max_size=2)}),
            },
        ),
    ),
)
