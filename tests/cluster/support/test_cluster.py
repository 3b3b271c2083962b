"""Which cluster is chosen, and what is said where there is none."""

from __future__ import annotations

import pytest

from tests.cluster.bed.waiting import BedError
from tests.cluster.support.cluster import Choice, choose


@pytest.mark.parametrize(
    ("wanted", "bed", "kind", "expected"),
    [
        ("", None, None, Choice("bed")),
        ("", "no root", None, Choice("kind")),
        ("", "no root", "no engine", Choice(reason="bed: no root; kind: no engine")),
        ("kind", None, None, Choice("kind")),
        ("kind", None, "no engine", Choice(reason="kind: no engine")),
        ("running", "no root", "no engine", Choice("running")),
    ],
)
def test_the_choice(wanted: str, bed: str | None, kind: str | None, expected: Choice) -> None:
    impediments = {"bed": lambda: bed, "kind": lambda: kind}
    assert choose({"CLUSTER": wanted}, impediments) == expected


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(BedError, match="CLUSTER=minikube: there are bed, kind and running"):
        choose({"CLUSTER": "minikube"})
