"""A patch makes the one document of the other, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.inject.difference import difference
from tests.support.json_patch import patched

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "~", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/c", "~d", ""]), inner),
    max_leaves=12,
)


@given(VALUES, VALUES)
def test_a_patch_leads_from_one_to_the_other(before, after):
    assert patched(before, difference(before, after)) == after


@given(VALUES)
def test_the_same_needs_nothing(value):
    assert list(difference(value, value)) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1, "b/c": 2}, [{"op": "add", "path": "/b~1c", "value": 2}]),
        ({"a": [{"x": 1}]}, {"a": [{"x": 2}]}, [{"op": "replace", "path": "/a/0/x", "value": 2}]),
        ({"a": [1]}, {"a": [1, 2]}, [{"op": "replace", "path": "/a", "value": [1, 2]}]),
        ({"a": 1}, {}, [{"op": "remove", "path": "/a"}]),
        ({"a": True}, {"a": 1}, [{"op": "replace", "path": "/a", "value": 1}]),
    ],
    ids=["escaped", "inside a list", "a longer list", "gone", "not the same type"],
)
def test_it_is_as_small_as_it_should_be(before, after, expected):
    assert list(difference(before, after)) == expected
