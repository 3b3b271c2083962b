"""Problems are read by people: references and places say what is meant, and sort."""

from __future__ import annotations

from sidewinder_operator.problems import Place, Problem, Reference


def test_a_reference_reads_as_kubectl_writes_it() -> None:
    assert str(Reference("ApiRoute", "shop", "r")) == "ApiRoute shop/r"
    assert str(Reference("Namespace", "", "shop")) == "Namespace shop"


def test_a_place_is_what_editors_jump_to() -> None:
    assert str(Place("a.yaml", 3, 7)) == "a.yaml:3"
    assert str(Place("a.yaml")) == "a.yaml"


def test_problems_sort_by_object_first() -> None:
    first, second = (
        Problem(reference=Reference("ApiRoute", "shop", name), field="spec", reason="X", message="m")
        for name in ("a", "b")
    )
    assert sorted([second, first]) == [first, second]
    assert first.severity == "Error"
