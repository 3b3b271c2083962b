"""Objects whose fields are each right and do not fit together: what must be told, and where.

The tests of `resources` read them; the cluster's test gives the same to a real API server, which must refuse them too
(but for those that CEL cannot judge: `cel=False`).
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from tests.support.specimens import changed, specimens

Keys = tuple[str | int, ...]


class Refusal(NamedTuple):
    """A name, the object, the field and the reason that must be told."""

    id: str
    raw: dict[str, Any]
    field: str
    reason: str = "Invalid"
    cel: bool = True


ROUTE: dict[str, Any] = {
    "apiVersion": "sidewinder.dev/v1alpha1",
    "kind": "ApiRoute",
    "metadata": {"name": "small", "namespace": "bookinfo"},
    "spec": {
        "parentRefs": [{"kind": "Service", "name": "reviews"}],
        "rules": [{"name": "all", "backendRefs": [{"name": "reviews-v1", "port": 9080}]}],
    },
}
POLICY: dict[str, Any] = {
    "apiVersion": "sidewinder.dev/v1alpha1",
    "kind": "ApiPolicy",
    "metadata": {"name": "small", "namespace": "bookinfo"},
    "spec": {"targetRefs": [{"kind": "Service", "name": "reviews"}], "loadBalancing": {"type": "RoundRobin"}},
}


def rule(**fields: Any) -> dict[str, Any]:
    """The small route, with fields of its rule; None takes one away."""
    raw = copy.deepcopy(ROUTE)
    found = {**raw["spec"]["rules"][0], **fields}
    raw["spec"]["rules"][0] = {name: value for name, value in found.items() if value is not None}
    return raw


def path(type_: str, value: str) -> dict[str, Any]:
    """The small route, with one path."""
    return rule(matches=[{"path": {"type": type_, "value": value}}])


def policy(**fields: Any) -> dict[str, Any]:
    """The small policy, with fields of its spec; None takes one away."""
    raw = copy.deepcopy(POLICY)
    spec = {**raw["spec"], **fields}
    raw["spec"] = {name: value for name, value in spec.items() if value is not None}
    return raw


def targets(*refs: dict[str, Any]) -> dict[str, Any]:
    """The small policy, for these."""
    return policy(targetRefs=list(refs))


REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"hostname": "shop.example"}}
REWRITE = {"type": "URLRewrite", "urlRewrite": {"hostname": "shop.example"}}
REMOVE = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-debug"]}}
ANSWER = {"type": "DirectResponse", "directResponse": {}}
LENGTH = {"name": "Content-Length", "value": "7"}
PREFIX = {
    "type": "URLRewrite",
    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
}
TO_PREFIX = {
    "type": "RequestRedirect",
    "requestRedirect": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
}
BACKEND = {"name": "reviews-v1", "port": 9080}
REGEX = {"path": {"type": "RegularExpression", "value": "/(?P<id>[0-9]+)"}}
OTHER = {"path": {"type": "RegularExpression", "value": "/(?P<name>[a-z]+)"}}
FIRST = "spec.rules[0]"
ACCESS = "spec.authorization.rules[0]"
LIST = {"configMapRef": {"name": "lists"}, "key": "office"}
MATCH = f"{FIRST}.matches[0]"


def templated(template: str, *matches: dict[str, Any]) -> dict[str, Any]:
    """The small route, with a template over these matches."""
    header = {"name": "x-id", "valueTemplate": template}
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [header]}}]
    return rule(matches=list(matches), filters=filters)


def header(**fields: Any) -> dict[str, Any]:
    """The small route, with one header to add."""
    modifier = {"add": [{"name": "x-a", **fields}]}
    return rule(filters=[{"type": "ResponseHeaderModifier", "responseHeaderModifier": modifier}])


def access(**fields: Any) -> dict[str, Any]:
    """The small policy, with one rule about who may call."""
    return policy(authorization={"rules": [{"name": "r", "action": "Allow", **fields}]})


def spec(raw: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy with fields of its spec."""
    return {**raw, "spec": {**raw["spec"], **fields}}


_VALUE = f"{FIRST}.filters[0].requestHeaderModifier.set[0].valueTemplate"
_EXTERNAL, _PROCESS = specimens()["ExternalWorkload"], specimens()["LocalProcess"]
_SERVICE = specimens()["Service"]

REFUSALS = (
    # matches
    Refusal("path-relative", path("Exact", "reviews"), f"{MATCH}.path.value"),
    Refusal("path-query", path("PathPrefix", "/a?b=c"), f"{MATCH}.path.value"),
    Refusal("path-blank", path("Exact", "/a b"), f"{MATCH}.path.value"),
    Refusal("path-half-escape", path("Exact", "/a%2"), f"{MATCH}.path.value"),
    Refusal("path-line", path("Exact", "/a\n"), f"{MATCH}.path.value"),
    Refusal("path-empty-element", path("PathPrefix", "/a//b"), f"{MATCH}.path.value"),
    Refusal("path-dots", path("PathPrefix", "/a/../b"), f"{MATCH}.path.value"),
    Refusal("path-dot-at-end", path("Exact", "/a/."), f"{MATCH}.path.value"),
    Refusal("path-encoded-slash", path("Exact", "/a%2fb"), f"{MATCH}.path.value"),
    Refusal("path-expression", path("RegularExpression", "/a("), f"{MATCH}.path.value"),
    Refusal("path-lookahead", path("RegularExpression", "/a(?=b)"), f"{MATCH}.path.value"),
    Refusal("path-backreference", path("RegularExpression", r"/(a)\1"), f"{MATCH}.path.value"),
    Refusal("path-repetition", path("RegularExpression", "/(a{1000}){1000}"), f"{MATCH}.path.value"),
    Refusal(
        "header-expression",
        rule(matches=[{"headers": [{"type": "RegularExpression", "name": "a", "value": "*"}]}]),
        f"{MATCH}.headers[0].value",
        cel=False,
    ),
    Refusal(
        "query-expression",
        rule(matches=[{"queryParams": [{"type": "RegularExpression", "name": "a", "value": "["}]}]),
        f"{MATCH}.queryParams[0].value",
        cel=False,
    ),
    Refusal(
        "header-twice",
        rule(matches=[{"headers": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}]),
        f"{MATCH}.headers[1].name",
        "Duplicate",
    ),
    Refusal(
        "matches-in-all",
        spec(ROUTE, rules=[{"name": f"r{number}", "matches": [{"method": "GET"}] * 50} for number in range(3)]),
        "spec.rules",
        "TooMany",
    ),
    # filters
    Refusal("header-without-value", header(), f"{FIRST}.filters[0].responseHeaderModifier.add[0].value"),
    Refusal(
        "header-with-both",
        header(value="a", valueTemplate="b"),
        f"{FIRST}.filters[0].responseHeaderModifier.add[0].value",
    ),
    Refusal("payload-missing", rule(filters=[{"type": "URLRewrite"}]), f"{FIRST}.filters[0].urlRewrite", "Required"),
    Refusal(
        "payload-of-another", rule(filters=[{**REWRITE, "directResponse": {}}]), f"{FIRST}.filters[0].directResponse"
    ),
    Refusal(
        "path-payload-missing",
        rule(filters=[{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath"}}}]),
        f"{FIRST}.filters[0].urlRewrite.path.replaceFullPath",
        "Required",
    ),
    Refusal("filter-twice", rule(filters=[REMOVE, REMOVE]), f"{FIRST}.filters[1].type", "Duplicate"),
    Refusal("redirect-and-rewrite", rule(filters=[REDIRECT, REWRITE], backendRefs=None), f"{FIRST}.filters[1].type"),
    Refusal("redirect-and-answer", rule(filters=[REDIRECT, ANSWER], backendRefs=None), f"{FIRST}.filters[1].type"),
    Refusal("redirect-with-backends", rule(filters=[REDIRECT]), f"{FIRST}.filters[0].type"),
    Refusal("answer-with-backends", rule(filters=[ANSWER]), f"{FIRST}.filters[0].type"),
    Refusal(
        "backend-filter-twice",
        rule(backendRefs=[{**BACKEND, "filters": [REMOVE, REMOVE]}]),
        f"{FIRST}.backendRefs[0].filters[1].type",
        "Duplicate",
    ),
    Refusal(
        "backend-filters-compete",
        rule(backendRefs=[{**BACKEND, "filters": [REWRITE, REDIRECT]}]),
        f"{FIRST}.backendRefs[0].filters[1].type",
    ),
    Refusal(
        "prefix-of-exact",
        rule(matches=[{"path": {"type": "Exact", "value": "/a"}}], filters=[PREFIX]),
        f"{FIRST}.filters[0].urlRewrite.path.type",
    ),
    Refusal(
        "prefix-of-two",
        rule(matches=[{"path": {"value": "/a"}}, {"path": {"value": "/b"}}], filters=[PREFIX]),
        f"{FIRST}.filters[0].urlRewrite.path.type",
    ),
    Refusal(
        "redirect-prefix-of-expression",
        rule(matches=[REGEX], filters=[TO_PREFIX], backendRefs=None),
        f"{FIRST}.filters[0].requestRedirect.path.type",
    ),
    Refusal(
        "backend-prefix-of-expression",
        rule(matches=[REGEX], backendRefs=[{**BACKEND, "filters": [PREFIX]}]),
        f"{FIRST}.backendRefs[0].filters[0].urlRewrite.path.type",
    ),
    Refusal(
        "framing-set",
        rule(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [LENGTH]}}]),
        f"{FIRST}.filters[0].requestHeaderModifier.set[0].name",
        cel=False,
    ),
    Refusal(
        "framing-removed",
        rule(filters=[{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["Transfer-Encoding"]}}]),
        f"{FIRST}.filters[0].responseHeaderModifier.remove[0]",
        cel=False,
    ),
    Refusal(
        "framing-answered",
        rule(filters=[{"type": "DirectResponse", "directResponse": {"headers": [LENGTH]}}], backendRefs=None),
        f"{FIRST}.filters[0].directResponse.headers[0].name",
        cel=False,
    ),
    Refusal(
        "body-of-204",
        rule(
            filters=[{"type": "DirectResponse", "directResponse": {"statusCode": 204, "body": "x"}}], backendRefs=None
        ),
        f"{FIRST}.filters[0].directResponse.body",
    ),
    # templates
    Refusal("capture-of-prefix", templated("{id}", {"path": {"value": "/a"}}), _VALUE, cel=False),
    Refusal("capture-of-one-of-two", templated("{id}", REGEX, OTHER), _VALUE, cel=False),
    Refusal("capture-misspelt", templated("a{ib}c", REGEX), _VALUE, cel=False),
    Refusal("capture-braces", templated("{id", REGEX), _VALUE),
    Refusal("capture-empty", templated("{}", REGEX), _VALUE),
    # the rest of a rule
    Refusal("cookie-missing", rule(stickiness={"type": "Cookie"}), f"{FIRST}.stickiness.cookie", "Required"),
    Refusal(
        "stickiness-of-another",
        rule(stickiness={"type": "Cookie", "cookie": {"name": "a"}, "header": {"name": "b"}}),
        f"{FIRST}.stickiness.header",
    ),
    Refusal(
        "try-longer-than-request",
        rule(timeouts={"request": "1s", "backendRequest": "1m"}),
        f"{FIRST}.timeouts.backendRequest",
    ),
    Refusal("backoff", rule(retry={"backoff": "1s"}), f"{FIRST}.retry.maxBackoff"),
    Refusal("codes-twice", rule(retry={"codes": [503, 503]}), f"{FIRST}.retry.codes[1]", "Duplicate"),
    Refusal("methods-twice", rule(retry={"methods": ["GET", "GET"]}), f"{FIRST}.retry.methods[1]", "Duplicate"),
    Refusal(
        "names-twice",
        spec(ROUTE, rules=ROUTE["spec"]["rules"] * 2),
        "spec.rules[1].name",
        "Duplicate",
    ),
    Refusal(
        "parents-twice", spec(ROUTE, parentRefs=ROUTE["spec"]["parentRefs"] * 2), "spec.parentRefs[1]", "Duplicate"
    ),
    Refusal("hostnames-twice", spec(ROUTE, hostnames=["a.example", "a.example"]), "spec.hostnames[1]", "Duplicate"),
    Refusal("hostname-address", spec(ROUTE, hostnames=["a.example", "192.0.2.1"]), "spec.hostnames[1]"),
    # policies
    Refusal(
        "two-kinds", targets({"kind": "Service", "name": "a"}, {"kind": "ApiRoute", "name": "a"}), "spec.targetRefs"
    ),
    Refusal("target-twice", targets(*[{"kind": "Service", "name": "a"}] * 2), "spec.targetRefs[1]", "Duplicate"),
    Refusal("target-without-name", targets({"kind": "Service"}), "spec.targetRefs[0].name"),
    Refusal("namespace-with-name", targets({"kind": "Namespace", "name": "bookinfo"}), "spec.targetRefs[0].name"),
    Refusal("mesh-with-section", targets({"kind": "Mesh", "sectionName": "a"}), "spec.targetRefs[0].sectionName"),
    Refusal("group", targets({"kind": "Service", "name": "a", "group": "sidewinder.dev"}), "spec.targetRefs[0].group"),
    Refusal("no-section", policy(loadBalancing=None), "spec", "Required"),
    # who may call what
    Refusal("authorization-empty", policy(authorization={}), "spec.authorization", "Required"),
    Refusal("access-of-anybody", access(), ACCESS, "Required"),
    Refusal("access-from-empty", access(**{"from": [{}]}), f"{ACCESS}.from[0]", "Required"),
    Refusal("access-to-empty", access(to=[{}]), f"{ACCESS}.to[0]", "Required"),
    Refusal("access-host-bits", access(**{"from": [{"cidrs": ["10.1.2.3/8"]}]}), f"{ACCESS}.from[0].cidrs[0]"),
    Refusal("access-no-cidr", access(**{"from": [{"peerCIDRs": ["office"]}]}), f"{ACCESS}.from[0].peerCIDRs[0]"),
    Refusal("access-mapped", access(**{"from": [{"notCIDRs": ["::ffff:1.2.3.4"]}]}), f"{ACCESS}.from[0].notCIDRs[0]"),
    Refusal(
        "access-path",
        access(to=[{"paths": [{"type": "Exact", "value": "/a/../b"}]}]),
        f"{ACCESS}.to[0].paths[0].value",
        cel=False,
    ),
    Refusal("access-when-neither", access(when=[{"values": ["a"]}]), f"{ACCESS}.when[0]", "Required"),
    Refusal(
        "access-when-both",
        access(when=[{"claim": "a", "header": "b", "values": ["a"]}]),
        f"{ACCESS}.when[0]",
        "Required",
    ),
    Refusal("access-when-in-nothing", access(when=[{"claim": "a"}]), f"{ACCESS}.when[0].values"),
    Refusal(
        "access-when-exists-in",
        access(when=[{"claim": "a", "operator": "Exists", "values": ["a"]}]),
        f"{ACCESS}.when[0].values",
    ),
    Refusal("access-when-host", access(when=[{"header": "HOST", "values": ["a"]}]), f"{ACCESS}.when[0].header"),
    Refusal(
        "interval-short",
        policy(retryConstraint={"budget": {"interval": "999ms"}}),
        "spec.retryConstraint.budget.interval",
        "OutOfRange",
    ),
    Refusal(
        "interval-long",
        policy(retryConstraint={"minRetryRate": {"interval": "1h1s"}}),
        "spec.retryConstraint.minRetryRate.interval",
        "OutOfRange",
    ),
    Refusal(
        "breaker-longest-is-shorter",
        policy(circuitBreaker={"openDuration": "10m"}),
        "spec.circuitBreaker.maxOpenDuration",
    ),
    Refusal(
        "breaker-that-never-opens",
        policy(circuitBreaker={"consecutiveFailures": 0}),
        "spec.circuitBreaker.consecutiveFailures",
    ),
    Refusal(
        "breaker-window",
        policy(circuitBreaker={"failureRate": {"interval": "1ms"}}),
        "spec.circuitBreaker.failureRate.interval",
        "OutOfRange",
    ),
    Refusal(
        "breaker-time", policy(circuitBreaker={"openDuration": "1ms"}), "spec.circuitBreaker.openDuration", "OutOfRange"
    ),
    Refusal("concurrency-of-nothing", policy(concurrency={}), "spec.concurrency", "Required"),
    Refusal(
        "concurrency-of-each-of-nothing",
        policy(concurrency={"perEndpoint": {}}),
        "spec.concurrency.perEndpoint",
        "Required",
    ),
    # workloads
    Refusal("address", changed(_EXTERNAL, ("spec", "addresses", 0), "192.0.2.300"), "spec.addresses[0]"),
    Refusal("address-zone", changed(_EXTERNAL, ("spec", "addresses", 1), "fe80::1%eth0"), "spec.addresses[1]"),
    Refusal("address-mapped", changed(_EXTERNAL, ("spec", "addresses", 1), "::ffff:192.0.2.1"), "spec.addresses[1]"),
    Refusal("command", changed(_PROCESS, ("spec", "command", 0), " "), "spec.command[0]"),
    Refusal("port-of-one-s-own", changed(_PROCESS, ("spec", "env", 0, "name"), "PORT"), "spec.env[0].name"),
    Refusal("argument-with-nul", changed(_PROCESS, ("spec", "command", 1), "a\0b"), "spec.command[1]"),
    # Kubernetes' own
    Refusal("service-name", changed(_SERVICE, ("metadata", "name"), "reviews.v2"), "metadata.name"),
    Refusal("readiness", changed(_PROCESS, ("spec", "readiness"), {"type": "HTTP"}), "spec.readiness.http", "Required"),
)

# What looks odd and is right.
ACCEPTED = (
    ROUTE,
    POLICY,
    rule(backendRefs=None),
    rule(timeouts={"request": "0s", "backendRequest": "1m"}),
    rule(filters=[PREFIX]),
    rule(matches=[REGEX, {"path": {"type": "RegularExpression", "value": "/x(?P<id>.*)"}}]),
    templated("{id}-{id}", REGEX, {"path": {"type": "RegularExpression", "value": "/x(?P<id>.*)(?P<more>.*)"}}),
    path("RegularExpression", "not a path at all"),
    path("PathPrefix", "/a/"),
    path("Exact", "/~user/%41;v=1,2"),
    spec(ROUTE, parentRefs=[{"kind": "Service", "name": "reviews", "port": port} for port in (80, 81)]),
    policy(authorization={"defaultAction": "Deny"}, loadBalancing=None),
    access(**{"from": [{"cidrs": ["10.0.0.0/8", "192.0.2.7", "2001:DB8::/32", "::/0"], "notPeerCIDRsFrom": [LIST]}]}),
    access(when=[{"header": "x-a", "operator": "NotExists"}, {"claim": "a", "operator": "NotIn", "values": ["b"]}]),
    targets({"kind": "Namespace"}),
    targets({"kind": "Mesh"}),
    targets({"kind": "ApiRoute", "name": "reviews", "sectionName": "everyone", "group": "sidewinder.dev"}),
    policy(retryConstraint={}, loadBalancing=None),
    policy(circuitBreaker={}, concurrency={"maxRequests": 1}),
    policy(circuitBreaker={"consecutiveFailures": 0, "failureRate": {}}),
    policy(concurrency={"perEndpoint": {"maxPending": 1}}),
    policy(retryConstraint={"budget": {"interval": "1h"}, "minRetryRate": {"interval": "1s"}}),
)
