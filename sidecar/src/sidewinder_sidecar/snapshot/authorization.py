"""Who may call what, as sent. Part of `policies`. An empty tuple of a condition asks nothing.

Judged as: any Deny that matches refuses; else any Allow that matches lets pass; else the default of the most specific
section that has one (`default_action`), else Deny. A section in Audit mode only logs and counts. On TCP an Allow with
HTTP conditions never matches, and a Deny ignores those conditions.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Action = Literal["Allow", "Deny"]


class FromSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Who calls: all fields must hold, each by one of its values; CIDRs and lists of CIDRs are one field.

    Without a certificate no identity matches. A `not_` field about identities then holds of a Deny and not of an Allow,
    and so does any field about an address that is not known: what is not known is held against the caller.
    """

    service_accounts: tuple[str, ...] = ()  # "<namespace>/<name>"
    namespaces: tuple[str, ...] = ()
    spiffe_ids: tuple[str, ...] = ()  # a trailing `*` stands for any rest
    cidrs: tuple[str, ...] = ()  # of the client, after the trusted hops
    cidr_lists: tuple[str, ...] = ()  # names of AddressesSpecs, the same
    peer_cidrs: tuple[str, ...] = ()  # of the socket's peer
    peer_cidr_lists: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    not_spiffe_ids: tuple[str, ...] = ()
    not_cidrs: tuple[str, ...] = ()
    not_cidr_lists: tuple[str, ...] = ()
    not_peer_cidrs: tuple[str, ...] = ()
    not_peer_cidr_lists: tuple[str, ...] = ()


class PathCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A path after normalisation. Exact, or by path element: /a matches /a and /a/b, not /ab."""

    value: str
    type: Literal["Exact", "PathPrefix"] = "PathPrefix"


class ToSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is called: all fields must hold, each by one of its values."""

    methods: tuple[str, ...] = ()
    paths: tuple[PathCondition, ...] = ()
    hosts: tuple[str, ...] = ()  # lower case, without port; a leading `*.` stands for any labels
    ports: tuple[int, ...] = ()  # of the pod
    not_methods: tuple[str, ...] = ()
    not_paths: tuple[PathCondition, ...] = ()
    not_hosts: tuple[str, ...] = ()
    not_ports: tuple[int, ...] = ()


class WhenSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A verified claim (`groups`, `realm_access.roles`) or a request's header. A claim that is a list holds each of
    its members. Exists and NotExists take no values; NotIn holds of what is not there only for a Deny."""

    claim: str = ""
    header: str = ""  # lower case
    operator: Literal["In", "NotIn", "Exists", "NotExists"] = "In"
    values: tuple[str, ...] = ()


class AccessRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of `sources` and one of `targets` and all of `conditions`; what is empty asks nothing."""

    name: str
    action: Action = "Allow"
    sources: tuple[FromSpec, ...] = ()
    targets: tuple[ToSpec, ...] = ()
    conditions: tuple[WhenSpec, ...] = ()


class AuthorizationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One section, in order from the least specific scope to the most specific one."""

    policy: str  # "<namespace>/<name>" of the ApiPolicy, for log and metrics
    audit: bool = False
    default_action: Action | None = None  # None: says nothing
    rules: tuple[AccessRule, ...] = ()


class AddressesSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A list of CIDRs out of a ConfigMap, canonical and sorted; up to 100 000. Resource name: `addresses/<name>`."""

    name: str
    cidrs: tuple[str, ...] = ()
