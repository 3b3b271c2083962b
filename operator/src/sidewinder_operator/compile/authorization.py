"""Section `authorization`: rules as sent, ConfigMaps read. `policies` asks `spec` for what a proxy gets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sidewinder_operator.compile.sections import Built, Fault, Row, read_spec
from sidewinder_operator.mesh.authorization import MeshAuthorization
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.access import AccessPath, To, When
from sidewinder_operator.resources.addresses import AddressList, Entries, entries, network
from sidewinder_operator.resources.authorization import Authorization, AuthorizationRule, From, PathNormalization
from sidewinder_sidecar.snapshot.authorization import (
    AccessRule,
    AddressesSpec,
    AuthorizationSpec,
    FromSpec,
    PathCondition,
    ToSpec,
    WhenSpec,
)

STRICTNESS: tuple[PathNormalization, ...] = ("Disabled", "Merge", "Strict")


def build(written: Authorization, cluster: Cluster, namespace: str) -> Built:
    """The section as meant. `namespace` is the policy's: its ConfigMaps are looked for there."""
    lists: dict[str, AddressesSpec] = {}
    faults: list[Fault] = []
    for field, ref in _lists(written):
        found = _entries(cluster, namespace, ref)
        if isinstance(found, Fault):
            faults.append(Fault(f"{field}.{found.field}", found.reason, found.message))
        else:
            name = _name(namespace, ref)
            lists[name] = AddressesSpec(name=name, cidrs=found.cidrs)
    if faults:
        return None, tuple(faults)
    meant = MeshAuthorization(
        audit=written.mode == "Audit",
        default_action=written.default_action,
        path_normalization=_normalization(written),
        rules=tuple(_rule(rule, namespace) for rule in written.rules),
        lists=tuple(lists[name] for name in sorted(lists)),
    )
    return meant, ()


ROW = Row("authorization", Authorization, read_spec("authorization"), build, keeps=True)


def spec(section: MeshAuthorization, policy: str) -> AuthorizationSpec:
    """As sent. `policy` is "<namespace>/<name>"."""
    return AuthorizationSpec(
        policy=policy,
        audit=section.audit,
        default_action=section.default_action,
        rules=section.rules,
    )


def strictest(sections: Iterable[MeshAuthorization]) -> PathNormalization:
    """How paths are normalised before any of these looks at one."""
    return max((section.path_normalization for section in sections), key=STRICTNESS.index, default="Disabled")


def _normalization(written: Authorization) -> PathNormalization:
    """What an Audit section says of paths would change or refuse requests: it lets them pass as they are."""
    if written.mode == "Audit":
        return "Disabled"
    return written.path_normalization or ("Strict" if written.judges_paths() else "Disabled")


def _lists(written: Authorization) -> Iterator[tuple[str, AddressList]]:
    for number, rule in enumerate(written.rules):
        for place, source in enumerate(rule.from_):
            for field, ref in source.lists():
                yield f"rules[{number}].from[{place}].{field}", ref


def _entries(cluster: Cluster, namespace: str, ref: AddressList) -> Entries | Fault:
    name = ref.config_map_ref.name
    config = cluster.configs.get((namespace, name))
    if config is None:
        return Fault("configMapRef.name", "RefNotFound", f"there is no ConfigMap {namespace}/{name}")
    if (text := config.data.get(ref.key)) is None:
        known = f"it has {', '.join(sorted(config.data))}" if config.data else "it is empty"
        return Fault("key", "RefNotFound", f"ConfigMap {namespace}/{name} has no {ref.key}: {known}")
    found = entries(text)
    if found.wrong:
        return Fault("key", "Invalid", f"{ref.key} of ConfigMap {namespace}/{name}: {'; '.join(found.wrong)}")
    return found


def _name(namespace: str, ref: AddressList) -> str:
    return f"{namespace}/{ref.config_map_ref.name}/{ref.key}"


def _rule(written: AuthorizationRule, namespace: str) -> AccessRule:
    return AccessRule(
        name=written.name,
        action=written.action,
        sources=tuple(_source(each, namespace) for each in written.from_),
        targets=tuple(_target(each) for each in written.to),
        conditions=tuple(_condition(each) for each in written.when),
    )


def _source(written: From, namespace: str) -> FromSpec:
    def lists(refs: tuple[AddressList, ...]) -> tuple[str, ...]:
        return tuple(_name(namespace, ref) for ref in refs)

    return FromSpec(
        service_accounts=written.service_accounts,
        namespaces=written.namespaces,
        spiffe_ids=written.spiffe_ids,
        cidrs=_cidrs(written.cidrs),
        cidr_lists=lists(written.cidrs_from),
        peer_cidrs=_cidrs(written.peer_cidrs),
        peer_cidr_lists=lists(written.peer_cidrs_from),
        not_service_accounts=written.not_service_accounts,
        not_namespaces=written.not_namespaces,
        not_spiffe_ids=written.not_spiffe_ids,
        not_cidrs=_cidrs(written.not_cidrs),
        not_cidr_lists=lists(written.not_cidrs_from),
        not_peer_cidrs=_cidrs(written.not_peer_cidrs),
        not_peer_cidr_lists=lists(written.not_peer_cidrs_from),
    )


def _cidrs(written: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(network(text)) for text in written)


def _target(written: To) -> ToSpec:
    return ToSpec(
        methods=written.methods,
        paths=_paths(written.paths),
        hosts=written.hosts,
        ports=written.ports,
        not_methods=written.not_methods,
        not_paths=_paths(written.not_paths),
        not_hosts=written.not_hosts,
        not_ports=written.not_ports,
    )


def _paths(written: tuple[AccessPath, ...]) -> tuple[PathCondition, ...]:
    return tuple(PathCondition(each.value, each.type) for each in written)


def _condition(written: When) -> WhenSpec:
    return WhenSpec(
        claim=written.claim or "",
        header=(written.header or "").lower(),
        operator=written.operator,
        values=written.values,
    )
