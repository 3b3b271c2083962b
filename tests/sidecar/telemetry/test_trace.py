import re

import pytest

from sidewinder_sidecar.telemetry import trace
from tests.support.calls import call

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
PARENT = b"00-" + TRACE + b"-" + SPAN + b"-01"


def started(*rows, percent=0.0):
    asked = call(b"/", *rows)
    trace.start(asked, percent)
    return asked


@pytest.mark.parametrize(("flags", "sampled"), [(b"00", False), (b"01", True), (b"03", True), (b"02", False)])
def test_a_parent_is_continued_and_decides(flags, sampled):
    asked = started((b"Traceparent", PARENT[:-2] + flags), percent=100.0 if not sampled else 0.0)
    assert (asked.trace_id, asked.parent_id, asked.sampled) == (TRACE, SPAN, sampled)
    assert re.fullmatch(rb"[0-9a-f]{16}", asked.span_id)
    assert asked.span_id != SPAN


INVALID = {
    "empty": b"",
    "short": PARENT[:-1],
    "long in version 00": PARENT + b"-x",
    "trailing dash in version 00": PARENT + b"-",
    "upper case": PARENT.upper(),
    "version ff": b"ff" + PARENT[2:],
    "no trace": b"00-" + b"0" * 32 + PARENT[35:],
    "no span": PARENT[:36] + b"0" * 16 + PARENT[52:],
    "no hex": PARENT.replace(b"4bf9", b"4bg9"),
    "dashes elsewhere": b"00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
    "underscore": PARENT.replace(b"4bf9", b"4_f9"),
    "later version without a dash": b"cc" + PARENT[2:] + b"x",
}


@pytest.mark.parametrize("parent", INVALID.values(), ids=INVALID)
def test_an_invalid_parent_starts_a_new_trace(parent):
    asked = started((b"traceparent", parent), (b"tracestate", b"a=1"))
    assert asked.trace_id != TRACE
    assert asked.parent_id == b""
    assert b"tracestate" not in asked.request.fields


@pytest.mark.parametrize("version", [b"01", b"cc"])
@pytest.mark.parametrize("more", [b"", b"-", b"-what-comes-later"])
def test_a_later_version_is_understood_as_far_as_it_is_known(version, more):
    assert started((b"traceparent", version + PARENT[2:] + more)).trace_id == TRACE


def test_two_parents_are_none():
    asked = started((b"traceparent", PARENT), (b"traceparent", PARENT))
    assert asked.trace_id != TRACE
    trace.stamp(asked)
    assert len(asked.request.fields.all(b"traceparent")) == 1


def test_another_field_twice_does_not_matter():
    assert started((b"traceparent", PARENT), (b"x", b"1"), (b"x", b"2")).trace_id == TRACE


def test_roots_are_sampled_by_percent():
    def share(percent):
        return sum(started(percent=percent).sampled for _ in range(4000)) / 4000

    assert share(0.0) == 0
    assert share(100.0) == 1
    assert 0.2 < share(25.0) < 0.3  # 25 % ± 7 standard deviations


def test_roots_differ_and_are_hex():
    ids = {started().trace_id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(rb"[0-9a-f]{32}", found) for found in ids)


@pytest.mark.parametrize("sampled", [False, True])
def test_each_try_has_a_parent_of_its_own(sampled):
    asked = started((b"traceparent", PARENT[:-2] + (b"01" if sampled else b"00")))
    spans = []
    for _ in range(2):
        spans.append(trace.stamp(asked))
        wanted = b"00-%b-%b-%b" % (TRACE, spans[-1], b"01" if sampled else b"00")
        assert asked.request.fields.all(b"traceparent") == [wanted]
    assert len({*spans, asked.span_id, SPAN}) == 4


STATES = {
    "one": ([b"a=1"], True),
    "tenant": ([b"fw529a3039@dt=FfAaBb"], True),
    "in two fields": ([b"a=1", b"b=2"], True),
    "blanks and empty members": ([b"a=1 , ,b=2"], True),
    "32 members": ([b",".join(b"k%d=1" % number for number in range(32))], True),
    "33 members": ([b",".join(b"k%d=1" % number for number in range(33))], False),
    "512 characters": ([b"a=" + b"x" * 256 + b",b=" + b"y" * 251], True),
    "513 characters": ([b"a=" + b"x" * 256 + b",b=" + b"y" * 252], False),
    "value of 257": ([b"a=" + b"x" * 257], False),
    "key of 242": ([b"a" * 242 + b"=1"], False),
    "empty": ([b""], False),
    "no value": ([b"a"], False),
    "twice the same": ([b"a=1,a=2"], False),
    "upper-case key": ([b"A=1"], False),
    "equals in value": ([b"a=1=2"], False),
    "control": ([b"a=\x01"], False),
}


@pytest.mark.parametrize(("values", "stays"), STATES.values(), ids=STATES)
def test_tracestate(values, stays):
    asked = started((b"traceparent", PARENT), *((b"tracestate", value) for value in values))
    assert asked.request.fields.all(b"tracestate") == (values if stays else [])
    assert asked.trace_id == TRACE


def test_without_spans_a_context_is_noted_and_passes_as_it_came() -> None:
    asked = call(b"/", (b"traceparent", PARENT), (b"tracestate", b"a=b"))
    trace.note(asked)
    assert (asked.trace_id, asked.parent_id, asked.sampled) == (PARENT[3:35], PARENT[36:52], False)
    assert asked.request.fields.all(b"traceparent") == [PARENT]
    assert not asked.request.fields.added
    assert not asked.request.fields.dropped


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (((b"traceparent", b"nonsense"), (b"tracestate", b"a=b")), set()),
        (((b"traceparent", PARENT), (b"traceparent", PARENT), (b"tracestate", b"a=b")), set()),
        (((b"traceparent", PARENT), (b"tracestate", b"a=b,a=c")), {b"traceparent"}),
        (((b"tracestate", b"a=b"),), set()),
    ],
    ids=["malformed", "twice", "a bad state", "a state alone"],
)
def test_without_spans_what_is_not_valid_goes_no_further(
    sent: tuple[tuple[bytes, bytes], ...], kept: set[bytes]
) -> None:
    asked = call(b"/", *sent)
    trace.note(asked)
    assert {name for name in (b"traceparent", b"tracestate") if asked.request.fields.all(name)} == kept
    assert (asked.trace_id, asked.parent_id) == ((PARENT[3:35], PARENT[36:52]) if kept else (b"", b""))


def test_digits_drawn_in_bulk_are_of_the_length_asked_for_and_do_not_repeat() -> None:
    drawn = [trace.digits.take(32) for _ in range(3 * trace.POOL // 32)]
    assert len(set(drawn)) == len(drawn)
    assert {len(one) for one in drawn} == {32}
    assert all(int(one, 16) for one in drawn)
