import json
from pathlib import Path
from types import SimpleNamespace

from sidewinder_sidecar.main import pages
from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.telemetry.access_log import AccessLog
from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.telemetry.writer import Writer
from tests.support.calls import Route, call


def process(applied=1, draining=False, discovery=None, spans=None, log=None):
    """What the pages ask."""
    metrics = Metrics()
    return SimpleNamespace(
        configuration=SimpleNamespace(applied=applied, state="5a", resources={}),
        proxy=SimpleNamespace(draining=draining, running={1, 2}, bugs=0),
        listeners=SimpleNamespace(open={"in": (("", 0), SimpleNamespace(port=80, connections={1}))}, turned_away=3),
        metrics=metrics,
        recorder=SimpleNamespace(access_log=log, spans=spans),
        discovery=discovery,
        supervisor=SimpleNamespace(deaths={"flush": 1}),
        trimmer=SimpleNamespace(trimmed=0),
        began=1.5,
        source="kept",
    )


def test_readiness():
    assert pages.readiness(process()).status == 200
    unready = pages.readiness(process(applied=0, draining=True))
    assert unready.status == 503
    text = "".join(unready.body)
    assert "no configuration" in text
    assert "draining" in text


def test_drain():
    one = process()
    assert '"requests":2' in "".join(pages.drain(one).body)
    assert one.proxy.draining


def test_the_doors():
    one = process()
    assert set(pages.probes(one)) == {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics")}
    assert set(pages.doors(one)) == {("GET", "/config"), ("POST", "/drain")}
    assert '"source":"kept"' in "".join(pages.doors(one)["GET", "/config"]().body)


def test_gauges():
    one = process(
        discovery=SimpleNamespace(refused=4, connected=True, connections=5),
        spans=SimpleNamespace(exported=6, lost=7, waiting=8),
        log=SimpleNamespace(dropped=9),
    )
    pages.gauges(one)
    text = "".join(one.metrics.render())
    for line in (
        "sidewinder_requests_in_flight 2",
        'sidewinder_connections{listener="in"} 1',
        "sidewinder_connections_turned_away_total 3",
        "sidewinder_config_refused_total 4",
        "sidewinder_discovery_connected 1",
        "sidewinder_discovery_connections_total 5",
        "sidewinder_spans_exported_total 6",
        "sidewinder_spans_dropped_total 7",
        "sidewinder_spans_waiting 8",
        "sidewinder_access_log_dropped_total 9",
        'sidewinder_background_deaths_total{task="flush"} 1',
        'sidewinder_config_info{state="5a"} 1',
        "process_start_time_seconds 1.5",
    ):
        assert line + "\n" in text


def test_what_is_off_has_no_gauge():
    one = process()
    pages.gauges(one)
    text = "".join(one.metrics.render())
    assert "spans" not in text
    assert "discovery" not in text
    assert "access_log" not in text


def test_every_metric_and_log_field_is_documented():
    page = (Path(__file__).parents[3] / "docs/reference/telemetry.md").read_text()
    one = process(
        discovery=SimpleNamespace(refused=0, connected=True, connections=0),
        spans=SimpleNamespace(exported=0, lost=0, waiting=0),
        log=SimpleNamespace(dropped=0),
    )
    pages.gauges(one)
    one.metrics.observe(call(status=200))
    text = "".join(one.metrics.render())
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert len(names) > 20
    assert {name for name in names if f"`{name}`" not in page} == set()
    told = call(
        error="bug", detail="x", retries=1, route=Route(), service="s", backend="b", peer=Peer("a", identity="i")
    )
    line = AccessLog(Writer(1), query=True).line(told)
    assert {name for name in json.loads(line) if f"`{name}`" not in page} == set()
