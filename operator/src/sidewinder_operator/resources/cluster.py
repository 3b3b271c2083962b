"""Cluster: everything that compile works from, frozen. Loaders (files, reflectors) make it with `gather`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.core import ConfigMap, EndpointSlice, Namespace, Secret, Service
from sidewinder_operator.resources.keys import Fetched
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.route import ApiRoute
from sidewinder_operator.resources.workload import ExternalWorkload, LocalProcess

Key: TypeAlias = tuple[str, str]  # namespace ("" for cluster-scoped kinds) and name
Object: TypeAlias = (
    ApiRoute | ApiPolicy | ExternalWorkload | LocalProcess | Namespace | Service | EndpointSlice | Secret | ConfigMap
)


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """What users wrote, by kind and key. Every mapping is sorted by key, so that whoever walks it is deterministic.

    `broken` names the objects that exist but could not be read: they are not deleted, their last good version counts.
    """

    routes: Mapping[Key, ApiRoute] = {}
    policies: Mapping[Key, ApiPolicy] = {}
    workloads: Mapping[Key, ExternalWorkload] = {}
    processes: Mapping[Key, LocalProcess] = {}
    namespaces: Mapping[Key, Namespace] = {}
    services: Mapping[Key, Service] = {}
    slices: Mapping[Key, EndpointSlice] = {}
    secrets: Mapping[Key, Secret] = {}
    configs: Mapping[Key, ConfigMap] = {}
    broken: frozenset[Reference] = frozenset()
    keys: Mapping[str, Fetched] = {}  # of issuers, by name: the operator fetches them, nobody writes them


# type of an object → the field of Cluster that holds it
FIELDS: dict[type[Object], str] = {
    ApiRoute: "routes",
    ApiPolicy: "policies",
    ExternalWorkload: "workloads",
    LocalProcess: "processes",
    Namespace: "namespaces",
    Service: "services",
    EndpointSlice: "slices",
    Secret: "secrets",
    ConfigMap: "configs",
}


def gather(objects: Iterable[Object], broken: Iterable[Reference] = ()) -> Cluster:
    """A Cluster of these objects; of two with one key the later counts."""
    fields: dict[str, dict[Key, Object]] = {name: {} for name in FIELDS.values()}
    for found in objects:
        fields[FIELDS[type(found)]][found.key] = found
    ordered: dict[str, Any] = {name: dict(sorted(found.items())) for name, found in fields.items()}
    return Cluster(**ordered, broken=frozenset(broken))
