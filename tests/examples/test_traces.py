"""The demo's judge of traces knows a whole one from every kind of broken one."""

from __future__ import annotations

from typing import Any

from examples.traces import CLIENT, HOPS, SERVER, SPANS, complete, faults


def trace() -> list[dict[str, Any]]:
    """All spans of one request, as they should be."""
    return [
        {
            "trace_id": "t",
            "span_id": f"{number + 1:x}",
            "parent_id": f"{number:x}" if number else "",
            "kind": CLIENT if number % 2 else SERVER,
            "resource": {"service.name": HOPS[number // 2]},
            "start": number,
        }
        for number in range(SPANS)
    ]


def test_a_whole_trace_is_good_in_any_order() -> None:
    assert faults(trace()) == []
    assert faults(reversed(trace())) == []


def test_a_retry_is_one_more_try_below_the_same_server() -> None:
    spans = trace()
    first_try = {**spans[3], "span_id": "ff", "start": 2.5}
    assert faults([*spans, first_try]) == []


def test_a_span_that_is_missing_breaks_the_way() -> None:
    for gone in range(SPANS):
        spans = trace()
        del spans[gone]
        assert len(faults(spans)) == 1, gone


def test_another_service_or_kind_is_another_way() -> None:
    spans = trace()
    spans[6]["resource"] = {"service.name": "somebody"}
    assert "the way was" in faults(spans)[0]
    spans = trace()
    spans[6]["kind"] = CLIENT
    assert "the way was" in faults(spans)[0]


def test_a_parent_that_was_never_received_is_no_root() -> None:
    spans = trace()
    spans[0]["parent_id"] = "abcd"
    assert "without a parent" in faults(spans)[0]


def test_two_traces_are_two() -> None:
    other = [{**span, "trace_id": "u"} for span in trace()]
    assert faults([*trace(), *other]) == []


def test_spans_of_retries_do_not_stand_for_those_that_are_missing() -> None:
    other = [{**span, "trace_id": "u"} for span in trace()]
    retries = [{**trace()[3], "span_id": f"f{number}", "start": 2.5} for number in range(SPANS)]
    assert complete([*trace(), *other, *retries], 2)
    assert not complete([*trace(), *other[:-1], *retries], 2)
    assert not complete([*trace(), *retries], 2)
