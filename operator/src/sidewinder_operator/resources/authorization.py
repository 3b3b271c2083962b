"""The section `authorization`: who may call what. Addresses are in `addresses`, what is called in `access`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from sidewinder_operator.resources.access import To, When, saying_something
from sidewinder_operator.resources.addresses import AddressList, Cidrs, Lists, addressed
from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import Namespace, SectionName
from sidewinder_operator.resources.section import Merging, Section, Side

Action = Literal["Allow", "Deny"]
PathNormalization = Literal["Disabled", "Merge", "Strict"]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
ServiceAccount = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=317,  # a namespace of 63, a slash, a name of 253
        pattern=rf"^{_LABEL}/{_LABEL}(\.{_LABEL})*\Z",
        extra={"right": "a namespace and a name such as `bookinfo/productpage`"},
    ),
]
# The SPIFFE ID standard: a trust domain, and segments of letters, digits, dots, dashes and underscores. A `*` stands
# only behind the trust domain's slash: one that ends the trust domain would let in whoever owns a longer name.
SpiffeId = Annotated[
    str,
    Meta(
        min_length=10,
        max_length=2048,
        pattern=r"^spiffe://[-a-z0-9._]+(/[-A-Za-z0-9._]+)*(/[-A-Za-z0-9._]*\*)?\Z",
        extra={"right": "a SPIFFE ID such as `spiffe://cluster.local/ns/bookinfo/*`"},
    ),
]
ServiceAccounts = Annotated[tuple[ServiceAccount, ...], Meta(min_length=1, max_length=64)]
Namespaces = Annotated[tuple[Namespace, ...], Meta(min_length=1, max_length=64)]
SpiffeIds = Annotated[tuple[SpiffeId, ...], Meta(min_length=1, max_length=64)]


class From(Strict, frozen=True, kw_only=True):
    """Who calls: all that is written must hold, each by one of its values. Identities come from mTLS alone."""

    service_accounts: Annotated[ServiceAccounts, Meta(description="`<namespace>/<name>` of the caller.")] = ()
    namespaces: Annotated[Namespaces, Meta(description="The caller's namespace.")] = ()
    spiffe_ids: Annotated[
        SpiffeIds, Meta(description="The caller's SPIFFE ID; a `*` at its end stands for any rest.")
    ] = ()
    cidrs: Annotated[Cidrs, Meta(description="Of the client, after the trusted hops.")] = ()
    cidrs_from: Annotated[Lists, Meta(description="The same from ConfigMaps.")] = ()
    peer_cidrs: Annotated[Cidrs, Meta(description="Of the connection's other end.")] = msgspec.field(
        name="peerCIDRs", default=()
    )
    peer_cidrs_from: Annotated[Lists, Meta(description="The same from ConfigMaps.")] = msgspec.field(
        name="peerCIDRsFrom", default=()
    )
    not_service_accounts: Annotated[ServiceAccounts, Meta(description="None of these.")] = ()
    not_namespaces: Annotated[Namespaces, Meta(description="None of these.")] = ()
    not_spiffe_ids: Annotated[SpiffeIds, Meta(description="None of these.")] = ()
    not_cidrs: Annotated[Cidrs, Meta(description="None of these clients.")] = msgspec.field(name="notCIDRs", default=())
    not_cidrs_from: Annotated[Lists, Meta(description="The same from ConfigMaps.")] = msgspec.field(
        name="notCIDRsFrom", default=()
    )
    not_peer_cidrs: Annotated[Cidrs, Meta(description="None of these peers.")] = msgspec.field(
        name="notPeerCIDRs", default=()
    )
    not_peer_cidrs_from: Annotated[Lists, Meta(description="The same from ConfigMaps.")] = msgspec.field(
        name="notPeerCIDRsFrom", default=()
    )

    RULES: ClassVar[tuple[Rule, ...]] = (
        saying_something,
        *(addressed(field) for field in ("cidrs", "peerCIDRs", "notCIDRs", "notPeerCIDRs")),
    )

    def lists(self) -> Iterator[tuple[str, AddressList]]:
        """The ConfigMaps it names, each with its place."""
        names = dict(zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True))
        for attribute, name in names.items():
            if attribute.endswith("_from"):
                for index, each in enumerate(getattr(self, attribute)):
                    yield f"{name}[{index}]", each


class AuthorizationRule(Strict, frozen=True, kw_only=True):
    """Takes what comes from one of `from`, goes to one of `to`, and meets all of `when`."""

    name: Annotated[SectionName, Meta(description="How logs and metrics call it.")]
    action: Annotated[Action, Meta(description="Deny wins over Allow, wherever it stands.")]
    from_: Annotated[
        tuple[Annotated[From, Meta(extra_json_schema={"minProperties": 1})], ...],
        Meta(min_length=1, max_length=16, description="Who calls; without it anybody."),
    ] = msgspec.field(name="from", default=())
    to: Annotated[
        tuple[Annotated[To, Meta(extra_json_schema={"minProperties": 1})], ...],
        Meta(min_length=1, max_length=16, description="What is called; without it anything."),
    ] = ()
    when: Annotated[
        tuple[Annotated[When, Meta(extra_json_schema={"minProperties": 1})], ...],
        Meta(min_length=1, max_length=16, description="What else must hold, all of it."),
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: bool(self.from_ or self.to or self.when),
            "a rule needs from, to or when: what holds for everybody and everything is defaultAction",
            cel="has(self.from) || has(self.to) || has(self.when)",
            reason="Required",
        ),
    )


class Authorization(Section, frozen=True, kw_only=True):
    """Any Deny that matches refuses; else any Allow that matches lets pass; else defaultAction holds."""

    SIDE: ClassVar[Side] = "Server"
    MERGING: ClassVar[Merging] = "Add"
    SECURITY: ClassVar[bool] = True
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service", "ApiRoute"})

    mode: Annotated[
        Literal["Enforce", "Audit"],
        Meta(description="Audit decides, logs and counts, and lets pass."),
    ] = "Enforce"
    default_action: Annotated[
        Action | None,
        Meta(description="For what no rule takes. The most specific policy that says it decides; if none does, Deny."),
    ] = None
    path_normalization: Annotated[
        PathNormalization | None,
        Meta(
            description="Strict refuses paths that servers could read in two ways, Merge cleans them up first, "
            "Disabled takes them as they come. Without it Strict if a rule has a path, else Disabled. The strictest "
            "that applies holds; Audit applies none."
        ),
    ] = None
    rules: Annotated[
        tuple[AuthorizationRule, ...],
        Meta(max_length=128, description="In any order: all are judged.", extra={"list": "map"}),
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: bool(self.rules or self.default_action),
            "authorization needs rules or a defaultAction",
            cel="has(self.defaultAction) || (has(self.rules) && size(self.rules) > 0)",
            reason="Required",
        ),
    )

    def judges_paths(self) -> bool:
        """Does a rule ask for the path?"""
        return any(to.paths or to.not_paths for rule in self.rules for to in rule.to)
