"""The text that Prometheus reads."""

from __future__ import annotations

from sidewinder_operator.main.metrics import Family, Metrics, by, one


def test_gauges_are_asked_when_the_text_is() -> None:
    metrics, value = Metrics(), {"now": 1.0}
    metrics.add(
        Family("leader", "gauge", "Whether.", one(lambda: value["now"])),
        Family("objects", "gauge", "Known.", by("kind", lambda: {'odd "kind"\n': 2.0})),
    )
    value["now"] = 3.5
    assert metrics.text().splitlines() == [
        "# HELP sidewinder_operator_leader Whether.",
        "# TYPE sidewinder_operator_leader gauge",
        "sidewinder_operator_leader 3.5",
        "# HELP sidewinder_operator_objects Known.",
        "# TYPE sidewinder_operator_objects gauge",
        'sidewinder_operator_objects{kind="odd \\"kind\\"\\n"} 2',
    ]


def test_a_histogram_counts_upwards() -> None:
    metrics = Metrics()
    turns = metrics.histogram("turn_seconds", "Turns.")
    for seconds in (0.0005, 0.001, 0.3, 60.0):
        turns.observe(seconds)
    lines = metrics.text().splitlines()
    assert 'sidewinder_operator_turn_seconds_bucket{le="0.001"} 2' in lines
    assert 'sidewinder_operator_turn_seconds_bucket{le="0.5"} 3' in lines
    assert 'sidewinder_operator_turn_seconds_bucket{le="+Inf"} 4' in lines
    assert lines[-1] == "sidewinder_operator_turn_seconds_count 4"
