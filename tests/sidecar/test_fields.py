"""Fields keep what was received beside what was edited, and read as what will be sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.fields import fields

NAMES = st.sampled_from([b"A", b"a", b"B", b"c"])
EDITS = st.lists(st.tuples(st.sampled_from(["set", "add", "remove"]), NAMES, st.binary(max_size=3)), max_size=12)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=3)), max_size=8), EDITS)
def test_edits_are_what_a_list_would_do(rows, edits):
    made, model = fields(*rows), [(name.lower(), name, value) for name, value in rows]
    for what, name, value in edits:
        lower = name.lower()
        if what in ("set", "remove"):
            model = [row for row in model if row[0] != lower]
        if what == "remove":
            made.remove(lower)
            continue
        model.append((lower, name, value))
        (made.set if what == "set" else made.add)(lower, name, value)
    assert list(made) == model
    for lower in (b"a", b"b", b"c", b"d"):
        values = [row[2] for row in model if row[0] == lower]
        assert made.all(lower) == values
        assert made.get(lower) == (values[0] if values else None)
        assert (lower in made) is bool(values)
    assert made.rows == [(name.lower(), name, value) for name, value in rows]


def test_its_repr_shows_no_value():
    assert repr(fields((b"Authorization", b"secret"))) == "<Fields Authorization>"
