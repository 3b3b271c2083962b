"""section: every section says where it acts, how it merges and what it may be attached to."""

from __future__ import annotations

import pytest

from sidewinder_operator.resources.policy import SECTIONS

KINDS = {"Mesh", "Namespace", "Service", "Gateway", "Backend", "ApiRoute"}


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_says_it(name: str) -> None:
    section = SECTIONS[name]
    assert section.SIDE in ("Client", "Server")
    assert section.MERGING in ("Replace", "Add", "Minimum")
    assert section.TARGETS
    assert section.TARGETS <= KINDS
    assert isinstance(section.SECURITY, bool)
    assert section.__doc__
