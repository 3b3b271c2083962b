"""means: decisions are counted by kind, action and policy, within a bound."""

from __future__ import annotations

from sidewinder_sidecar.means import MOST_COUNTED, OTHER, Means


def test_decisions_are_counted() -> None:
    means = Means()
    for _ in range(3):
        means.count("authorization", "Deny", "shop/zero-trust")
    means.count("mtls", "Audit", "shop/zero-trust")
    assert list(means.counted()) == [
        ({"kind": "authorization", "action": "Deny", "policy": "shop/zero-trust"}, 3),
        ({"kind": "mtls", "action": "Audit", "policy": "shop/zero-trust"}, 1),
    ]


def test_a_flood_of_names_is_counted_together() -> None:
    means = Means()
    for number in range(MOST_COUNTED + 10):
        means.count("cors", "Deny", f"shop/p{number}")
    means.count("cors", "Deny", "shop/p0")
    assert len(means.decisions) == MOST_COUNTED + 1
    assert means.decisions["cors", "Deny", OTHER] == 10
    assert means.decisions["cors", "Deny", "shop/p0"] == 2


def test_what_is_kept_is_not_shown() -> None:
    means = Means()
    means.memory["tokens"] = {"secret": "s3cr3t"}
    assert "s3cr3t" not in repr(means)
