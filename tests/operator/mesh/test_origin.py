"""What an origin tells discovery."""

from __future__ import annotations

from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.problems import Reference

WEB = Reference("Service", "shop", "web")


def test_uid_and_generation_go_together() -> None:
    assert Origin(WEB, "u", 3).of == ("u", 3)


def test_what_nobody_numbered_has_none() -> None:
    assert Origin(WEB, "", 3).of is None


def test_origins_have_an_order() -> None:
    assert sorted([Origin(WEB, "b"), Origin(WEB, "a", 2), Origin(WEB, "a", 1)])[0] == Origin(WEB, "a", 1)
