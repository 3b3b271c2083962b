"""Every section that a policy can carry has its row, and its name is the field it fills in the mesh."""

from __future__ import annotations

from sidewinder_operator.compile.registry import ROWS
from sidewinder_operator.mesh.policies import MeshPolicy
from sidewinder_operator.mesh.services import MeshBackend
from sidewinder_operator.resources.constraints import snake
from sidewinder_operator.resources.policy import SECTIONS


def test_there_is_one_row_for_each_section() -> None:
    assert {row.name: row.written for row in ROWS} == SECTIONS
    assert len(ROWS) == len(SECTIONS)


def test_a_client_section_has_its_place_on_a_backend() -> None:
    for row in ROWS:
        assert not row.client or snake(row.name) in MeshBackend.__struct_fields__


def test_a_server_section_has_its_place_on_a_policy() -> None:
    """Where it is not, it would be accepted and enforced by nobody."""
    for row in ROWS:
        assert row.client or snake(row.name) in MeshPolicy.__struct_fields__


def test_what_is_kept_holds_no_secret() -> None:
    assert [row.name for row in ROWS if row.keeps] == ["authorization"]


def test_only_a_section_that_takes_the_minimum_needs_to_combine() -> None:
    for row in ROWS:
        assert (row.combine is not None) == (row.written.MERGING == "Minimum")
