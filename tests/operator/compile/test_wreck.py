"""What can be told of a policy that cannot be read, however malformed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.compile.wreck import salvage
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.policy import TargetRef

WHO = Reference("ApiPolicy", "shop", "a")
NAMESPACE = TargetRef(kind="Namespace")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["spec", "targetRefs", "kind", "name", "lock"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "sections", "targets"),
    [
        (None, set(), (NAMESPACE,)),
        ([], set(), (NAMESPACE,)),
        ({"spec": "x"}, set(), (NAMESPACE,)),
        ({"spec": {"lock": 1}}, {"lock"}, (NAMESPACE,)),
        ({"spec": {"lock": 1, "targetRefs": {}}}, {"lock", "targetRefs"}, (NAMESPACE,)),
        (
            {"spec": {"targetRefs": [{"kind": "Service", "name": "web"}, {"kind": "Service", "nmae": "web"}, 7]}},
            {"targetRefs"},
            (TargetRef(kind="Service", name="web"), NAMESPACE, NAMESPACE),
        ),
    ],
    ids=["nothing", "a list", "no spec", "no targets", "targets of a wrong type", "some legible"],
)
def test_the_remains(raw: Any, sections: set[str], targets: tuple[TargetRef, ...]) -> None:
    assert salvage(WHO, raw) == (WHO, sections, targets)


@given(JSON)
def test_it_never_raises_and_always_names_a_target(raw: Any) -> None:
    assert salvage(WHO, raw).targets
