"""Writes `crds/`: one CustomResourceDefinition per kind that the API server holds. `make crds` runs it.

LocalProcess has none: it exists in files only. What is not built yet is not in the schema, so that the API server
refuses it as unknown under strict validation.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sidewinder_operator.resources.meta import GROUP, VERSION
from sidewinder_operator.resources.policy import ApiPolicy, ApiPolicySpec
from sidewinder_operator.resources.route import ApiRoute, ApiRouteSpec
from sidewinder_operator.resources.schema import Schema, schema
from sidewinder_operator.resources.status import ApiPolicyStatus, ApiRouteStatus, ExternalWorkloadStatus
from sidewinder_operator.resources.workload import ExternalWorkload, ExternalWorkloadSpec

Column = dict[str, Any]


def _condition(name: str, what: str = "status", **more: Any) -> Column:
    path = f'.status.conditions[?(@.type=="{name}")].{what}'
    return {"name": "Reason" if what == "reason" else name, "type": "string", "jsonPath": path, **more}


_PROXIES: tuple[Column, ...] = (
    {"name": "Acknowledged", "type": "integer", "jsonPath": ".status.proxies.acknowledged"},
    {"name": "Required", "type": "integer", "jsonPath": ".status.proxies.required"},
)
_AGE: Column = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_CONDITIONS = (_condition("Accepted"), _condition("Programmed"))
_REASON = _condition("Accepted", "reason", priority=1)


class Definition(NamedTuple):
    """A kind, the types of its spec and status, its names and columns."""

    kind: type[Any]
    spec: type[Any]
    status: type[Any]
    plural: str
    short: str
    columns: tuple[Column, ...]
    labels: tuple[tuple[str, str], ...] = ()


DEFINITIONS = (
    Definition(
        ApiRoute,
        ApiRouteSpec,
        ApiRouteStatus,
        "apiroutes",
        "apir",
        (
            {"name": "Parents", "type": "string", "jsonPath": ".spec.parentRefs[*].name"},
            *_CONDITIONS,
            *_PROXIES,
            _AGE,
            _REASON,
        ),
    ),
    Definition(
        ApiPolicy,
        ApiPolicySpec,
        ApiPolicyStatus,
        "apipolicies",
        "apipol",
        (
            {"name": "Targets", "type": "string", "jsonPath": ".spec.targetRefs[*].name"},
            *_CONDITIONS,
            *_PROXIES,
            _AGE,
            _REASON,
        ),
        (("gateway.networking.k8s.io/policy", "Inherited"),),  # GEP-713: it holds for what is below its target too
    ),
    Definition(
        ExternalWorkload,
        ExternalWorkloadSpec,
        ExternalWorkloadStatus,
        "externalworkloads",
        "extw",
        (
            {"name": "Addresses", "type": "string", "jsonPath": ".spec.addresses[*]"},
            {"name": "ServiceAccount", "type": "string", "jsonPath": ".spec.serviceAccount"},
            _condition("Accepted"),
            _condition("Selected"),
            _AGE,
            _REASON,
        ),
    ),
)


def definition(of: Definition) -> Schema:
    """The CustomResourceDefinition, as plain data."""
    name = of.kind.KIND
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{of.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "sidewinder", **dict(of.labels)},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": of.plural,
                "singular": name.lower(),
                "shortNames": [of.short],
                "categories": ["sidewinder"],
            },
            "versions": [_version(of)],
        },
    }


def _version(of: Definition) -> Schema:
    envelope = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return {
        "name": VERSION.rpartition("/")[2],
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [dict(column) for column in of.columns],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": " ".join((of.kind.__doc__ or "").split()),
                "required": ["spec"],
                "properties": {**envelope, "spec": schema(of.spec), "status": schema(of.status)},
            }
        },
    }


class _Plain(yaml.SafeDumper):
    """Never writes an alias: kubectl's readers of a CRD are people too."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


def render(of: Definition) -> str:
    """The file's text."""
    body = yaml.dump(definition(of), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=118)
    return f"# Generated from the resource types by `make crds`; change those.\n{body}"


def files() -> dict[str, str]:
    """File name → text."""
    return {f"{of.plural}.yaml": render(of) for of in DEFINITIONS}


def main(folder: str) -> None:
    """Writes all of them into `folder`."""
    for name, text in files().items():
        Path(folder, name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
