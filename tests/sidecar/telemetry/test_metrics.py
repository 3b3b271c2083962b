import re

import pytest

from sidewinder_sidecar.telemetry import metrics
from sidewinder_sidecar.telemetry.metrics import Metrics
from tests.support.calls import Route, call


def one(**more):
    return call(**({"route": Route(), "service": "shop/reviews", "backend": "shop/v1", "status": 200} | more))


def rendered(counted):
    return "".join(counted.render())


def value(text, name, **labels):
    """The only sample of that name with these labels."""
    found = [
        line.rpartition(" ")[2]
        for line in text.splitlines()
        if re.match(rf"{name}[{{ ]", line) and all(f'{key}="{wanted}"' in line for key, wanted in labels.items())
    ]
    assert len(found) == 1, (name, labels, found, text)
    return float(found[0])


def test_a_call_counts_everywhere():
    counted = Metrics()
    counted.observe(one(started=1.0, ended=1.003, bytes_in=5, bytes_out=7, retries=2))
    counted.observe(one(started=1.0, ended=21.0, status=503, error="no_endpoints"))
    text = rendered(counted)
    where = {"listener": "inbound", "route": "shop/reviews", "rule": "everyone", "backend": "shop/v1"}
    assert value(text, "sidewinder_requests_total", **where, status=200, flag="", error="") == 1
    assert value(text, "sidewinder_requests_total", **where, status=503, flag="UH", error="no_endpoints") == 1
    assert value(text, "sidewinder_retries_total", **where) == 2
    assert value(text, "sidewinder_request_bytes_total", **where) == 5
    assert value(text, "sidewinder_response_bytes_total", **where) == 7
    buckets = "sidewinder_request_duration_seconds_bucket"
    assert value(text, buckets, **where, le="0.0025") == 0
    assert value(text, buckets, **where, le="0.005") == 1
    assert value(text, buckets, **where, le="10") == 1
    assert value(text, buckets, **where, le=r"+Inf") == 2
    assert value(text, "sidewinder_request_duration_seconds_sum", **where) == pytest.approx(20.003)
    assert value(text, "sidewinder_request_duration_seconds_count", **where) == 2
    assert counted.requests() == 2


def test_a_call_without_a_route():
    counted = Metrics()
    counted.observe(call(status=404, error="no_route"))
    assert value(rendered(counted), "sidewinder_requests_total", route="", status=404, flag="NR") == 1


def test_what_some_listeners_have_served_is_counted():
    counted = Metrics()
    for listener in ("inbound", "inbound", "out"):
        counted.observe(call(listener=listener, status=200))
    counted.observe(call(listener="inbound", status=503))
    assert [counted.served(names) for names in (["inbound"], ["out", "inbound"], ["x"], [])] == [3, 4, 0, 0]


def test_label_sets_are_bounded():
    counted = Metrics()
    for number in range(metrics.MAX_SERIES + 50):
        counted.observe(one(backend=f"host-{number}"))
    assert len(counted.series) == metrics.MAX_SERIES + 1
    assert value(rendered(counted), "sidewinder_requests_total", backend="other", route="other") == 50


def test_statuses_are_bounded():
    counted = Metrics()
    for status in range(100, 900):
        counted.observe(one(status=status))
    (series,) = counted.series.values()
    assert len(series.outcomes) == metrics.MAX_OUTCOMES + 1
    assert sum(series.outcomes.values()) == 800


def test_values_are_escaped():
    counted = Metrics()
    counted.observe(one(backend='a"b\\c\nd'))
    assert r'backend="a\"b\\c\nd"' in rendered(counted)


def test_gauges_are_read_when_rendered():
    counted = Metrics()
    counted.add("in_flight", "gauge", "Running.", lambda: 3)
    counted.add("connections", "gauge", "Open.", lambda: [({"side": "upstream"}, 1.5), ({"side": "downstream"}, 2)])
    counted.add("process_cpu_seconds_total", "counter", "CPU.", lambda: 0.25)
    text = rendered(counted)
    assert "# HELP sidewinder_in_flight Running.\n# TYPE sidewinder_in_flight gauge\nsidewinder_in_flight 3\n" in text
    assert 'sidewinder_connections{side="upstream"} 1.5\n' in text
    assert "\nprocess_cpu_seconds_total 0.25\n" in text


def test_every_line_is_one_that_prometheus_reads():
    counted = Metrics()
    counted.observe(one())
    line = re.compile(r'(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="[^"\n]*",?)+\})? [0-9.e+-]+)')
    for found in rendered(counted).splitlines():
        assert line.fullmatch(found), found


def test_bounds_hold_what_equals_them():
    counted = Metrics()
    counted.observe(one(started=0.0, ended=0.5))
    assert value(rendered(counted), "sidewinder_request_duration_seconds_bucket", le="0.5") == 1
    assert value(rendered(counted), "sidewinder_request_duration_seconds_bucket", le="0.25") == 0
