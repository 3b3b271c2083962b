"""docs/reference: in step with the types, and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidewinder_operator.resources import reference

FOLDER = Path(__file__).parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(reference.files()))
def test_the_pages_are_in_step(name: str) -> None:
    assert (FOLDER / name).read_text() == reference.files()[name], "run `make crds`"


def test_every_section_has_its_row() -> None:
    page = reference.files()["apipolicy.md"]
    assert "| `retryConstraint` | Client | Replace | ApiRoute, Mesh, Namespace, Service |" in page
    assert "`mtls`" in page


def test_a_page_says_what_exists_in_files_only() -> None:
    assert "files only" in reference.files()["localprocess.md"]
    assert "files only" not in reference.files()["apiroute.md"]


def test_a_field_says_type_default_and_purpose() -> None:
    page = reference.files()["apiroute.md"]
    assert "| **kind** | `Service` |  | Service: calls inside the mesh. |" in page
    assert "| weight | 0 to 1000000 | `1` |" in page
    assert "| allowCredentials | true or false | `False` |" in page
    assert "ConnectFailure`, `ResetBeforeRequest`" in page
    assert "| matches | list of object, 1 to 64 | every request |" in page
    assert "| codes | list of 400 to 599, 0 to 16 | `500`, `502`, `503`, `504` |" in reference.files()["apipolicy.md"]
