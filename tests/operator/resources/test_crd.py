"""crds/: in step with the types, structural and bounded, and a schema that says what `read` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from sidewinder_operator.resources import crd, unbuilt
from sidewinder_operator.resources.policy import SECTIONS
from sidewinder_operator.resources.read import read
from tests.support.refusals import ACCEPTED
from tests.support.specimens import Mutation, more, mutations, specimens

FOLDER = Path(__file__).parents[3] / "crds"
CRDS = {of.kind.KIND: crd.definition(of) for of in crd.DEFINITIONS}
OURS = [raw for raw in (*specimens().values(), *more()) if raw["kind"] in CRDS]


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of a kind's only version."""
    (version,) = CRDS[kind]["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from parts(inner, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """As the API server judges under strict validation: unknown fields are refused."""
    found = {key: value for key, value in schema.items() if key not in ("properties", "items", "default", "format")}
    if "items" in schema:
        found["items"] = strict(schema["items"])
    if "properties" in schema:
        found["properties"] = {name: strict(inner) for name, inner in schema["properties"].items()}
        found["additionalProperties"] = False
    return found


@pytest.mark.parametrize("name", sorted(crd.files()))
def test_the_files_are_in_step(name: str) -> None:
    assert (FOLDER / name).read_text() == crd.files()[name], "run `make crds`"


def test_there_is_no_other_file() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(crd.files())


@pytest.mark.parametrize("kind", sorted(CRDS))
def test_a_file_reads_back_as_what_was_meant(kind: str) -> None:
    (of,) = [of for of in crd.DEFINITIONS if kind == of.kind.KIND]
    assert yaml.safe_load(crd.render(of)) == yaml.safe_load(yaml.safe_dump(CRDS[kind]))


@pytest.mark.parametrize("kind", sorted(CRDS))
def test_every_part_is_typed_described_and_bounded(kind: str) -> None:
    for path, part in parts(schema_of(kind)):
        assert part["type"] in ("object", "array", "string", "integer", "boolean"), path
        if path in ("", ".apiVersion", ".kind", ".metadata"):
            continue
        assert part.get("description") or path.endswith("[]"), path
        assert part.get("description") != "The main component of a generic type.", path
        if part["type"] == "string":
            assert "maxLength" in part or "enum" in part or part.get("format") == "date-time", path
        if part["type"] == "array":
            assert part["maxItems"] <= 128, path
            assert part["x-kubernetes-list-type"] in ("atomic", "set", "map"), path
        if part["type"] == "object":
            assert "additionalProperties" not in part, path
        if part["type"] == "integer" and "status" not in path:
            assert "enum" in part or {"minimum", "maximum"} <= set(part), path


@pytest.mark.parametrize("kind", sorted(CRDS))
def test_every_cel_rule_says_what_would_be_right_and_where(kind: str) -> None:
    for path, part in parts(schema_of(kind)):
        for rule in part.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            assert rule["reason"] in ("FieldValueInvalid", "FieldValueRequired", "FieldValueDuplicate"), path
            if "fieldPath" in rule:
                assert rule["fieldPath"].removeprefix(".").split(".")[0] in part["properties"], path


def test_status_echoes_references_without_rules_and_defaults() -> None:
    status = schema_of("ApiRoute")["properties"]["status"]["properties"]
    assert "x-kubernetes-validations" not in str(status)
    assert "default" not in str(status["parents"]["items"]["properties"]["parentRef"])
    assert set(status["conditions"]["items"]["required"]) == {
        "type",
        "status",
        "lastTransitionTime",
        "reason",
        "message",
    }
    assert set(status["proxies"]["properties"]) == {"required", "acknowledged", "rejected"}


def test_what_is_not_built_is_not_in_a_schema() -> None:
    text = "\n".join(crd.files().values())
    for names in unbuilt.FIELDS.values():
        for name in names - SECTIONS.keys():  # a filter of that name is another thing
            assert f" {name}:" not in text, name


@pytest.mark.parametrize("kind", sorted(CRDS))
def test_names_and_columns(kind: str) -> None:
    spec = CRDS[kind]["spec"]
    (version,) = spec["versions"]
    assert spec["names"]["categories"] == ["sidewinder"]
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert "Age" in columns
    if kind != "ExternalWorkload":
        assert {"Accepted", "Programmed", "Acknowledged", "Required"} <= set(columns)


@pytest.mark.parametrize("raw", [*OURS, *ACCEPTED], ids=lambda raw: str(raw["kind"]))
def test_what_read_accepts_the_schema_accepts(raw: dict[str, Any]) -> None:
    assert read(raw).problems == []
    assert list(Draft7Validator(strict(schema_of(raw["kind"]) | {"x": 1})).iter_errors(_spec(raw))) == []


def _spec(raw: dict[str, Any]) -> dict[str, Any]:
    return {"spec": raw["spec"]}


# A pattern's `$` is the end in Go, and before a last newline too in Python, which jsonschema runs on.
MUTATIONS = [
    mutation
    for raw in OURS
    for mutation in mutations(raw)
    if mutation.field.startswith("spec") and mutation.what != "null" and not mutation.what.endswith("\\n'")
]


def test_what_read_refuses_of_a_field_the_schema_refuses() -> None:
    validators = {kind: _validators(kind) for kind in CRDS}
    assert [mutation.id for mutation in MUTATIONS if _passes(validators[mutation.kind], mutation)] == []
    assert len(MUTATIONS) > 700


def _validators(kind: str) -> dict[str, Draft7Validator]:
    """Of the whole under "", and of each field of `spec`: a mutation is in one, the others need not be read again."""
    schema = strict(schema_of(kind))
    fields = schema["properties"]["spec"]["properties"]
    return {name: Draft7Validator(each) for name, each in fields.items()} | {"": Draft7Validator(schema)}


def _passes(validators: dict[str, Draft7Validator], mutation: Mutation) -> bool:
    if "spec" not in mutation.raw:
        return False
    name, *deeper = re.split(r"[.\[]", mutation.field.removeprefix("spec").removeprefix("."))
    if deeper and name in validators:
        return bool(validators[name].is_valid(mutation.raw["spec"][name]))
    return bool(validators[""].is_valid(_spec(mutation.raw)))


def test_the_target_manifest_fits() -> None:
    for document in yaml.safe_load_all((FOLDER.parent / "examples/canary/canary.yaml").read_text()):
        Draft7Validator(strict(schema_of(document["kind"]))).validate(_spec(document))
