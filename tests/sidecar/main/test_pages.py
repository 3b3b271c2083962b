import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidewinder_sidecar.identity.files import Held
from sidewinder_sidecar.identity.leaf import Leaf, Root
from sidewinder_sidecar.main import pages
from sidewinder_sidecar.main.draining import Crowded
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.settings import Settings
from sidewinder_sidecar.telemetry.access_log import AccessLog
from sidewinder_sidecar.telemetry.callers import Callers
from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.telemetry.writer import Writer
from tests.support.calls import Route, call


class Drain:
    """What the pages ask of a drain."""

    seconds, retired_seconds = 4.5, 1.5
    waiting, requests, connections, cut = 1, 2, 3, 4
    upgraded, relayed = 5, 6

    def __init__(self):
        self.begun = ""
        self.outcome = "retired"

    def begin(self, why):
        self.begun = why

    async def may_end(self):
        if self.outcome is None:
            raise Crowded
        return self.outcome


def identity(held=True):
    """One that was enrolled at noon of 1 January 2026, or none."""
    noon, day = 1_767_268_800.0, 86_400.0
    leaf = Leaf(spiffe_id="spiffe://d/ns/a/sa/b", subject="u-1", serial="5f", not_before=noon, not_after=noon + day)
    root = Root(name="Sidewinder, d", sha256="ab" * 32, not_after=noon + 100 * day)
    return SimpleNamespace(
        held=Held(leaf, (root,), "current", None, noon, ("certificate.pem", "key.pem"), "") if held else None,
        usable=held,
        renew_at=noon + day / 2 if held else 0.0,
        enrolments=1,
        failures=2,
        fault="" if held else "refused with 401: no",
    )


def process(applied=1, draining=False, discovery=None, spans=None, log=None, identity=None):
    """What the pages ask."""
    metrics = Metrics()
    return SimpleNamespace(
        settings=Settings(),
        configuration=SimpleNamespace(applied=applied, state="5a", resources={}),
        proxy=SimpleNamespace(
            draining=draining,
            running={1, 2},
            bugs=0,
            fleet=SimpleNamespace(means=Means(), backends={}),
            callers=Callers(),
            clock=lambda: 0.0,
            plan=None,
        ),
        listeners=SimpleNamespace(open={"in": (("", 0), SimpleNamespace(port=80, connections={1}))}, turned_away=3),
        keyring=SimpleNamespace(counted={("server", "ok"): 12}, lines={1: 2.0}, pending=1),
        metrics=metrics,
        recorder=SimpleNamespace(access_log=log, spans=spans),
        discovery=discovery,
        supervisor=SimpleNamespace(deaths={"flush": 1}),
        trimmer=SimpleNamespace(trimmed=0),
        identity=identity,
        drain=Drain(),
        wants=SimpleNamespace(answered=1, unknown=2, late=3),
        checks=SimpleNamespace(checks={}, counts={"passed": 1}, dropped=0),
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
    assert one.drain.begun


@pytest.mark.parametrize(("outcome", "status"), [("retired", 200), ("late", 200), (None, 503)])
def test_asking_when_an_application_may_end(outcome, status):
    one = process()
    one.drain.outcome = outcome
    page = asyncio.run(pages.hold(one))
    assert page.status == status
    assert (outcome or "too many") in "".join(page.body)
    assert not one.drain.begun, "asking changes nothing"


def test_the_doors():
    one = process()
    assert set(pages.probes(one)) == {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/drain")}
    shown = {path for method, path in pages.doors(one) if method == "GET"}
    assert shown == {"/breakers", "/callers", "/config", "/health-checks", "/mirror"}
    assert ("POST", "/drain") in pages.doors(one)
    assert json.loads("".join(pages.doors(one)["GET", "/callers"]().body))["callers"] == []
    assert '"source":"kept"' in "".join(pages.doors(one)["GET", "/config"]().body)


def test_the_identity_is_shown_without_its_key():
    one = process(identity=identity())
    told = json.loads("".join(pages.doors(one)["GET", "/identity"]().body))
    assert told == {
        "certificate": {
            "spiffe_id": "spiffe://d/ns/a/sa/b",
            "pod_uid": "u-1",
            "serial": "5f",
            "not_before": "2026-01-01T12:00:00Z",
            "not_after": "2026-01-02T12:00:00Z",
            "renew_at": "2026-01-02T00:00:00Z",
        },
        "roots": [{"name": "Sidewinder, d", "sha256": "ab" * 32, "not_after": "2026-04-11T12:00:00Z"}],
        "usable": True,
        "enrolments": 1,
        "failures": 2,
        "fault": "",
    }


def test_without_a_certificate_it_is_shown_why():
    told = json.loads("".join(pages.doors(process(identity=identity(held=False)))["GET", "/identity"]().body))
    assert (told["certificate"], told["roots"], told["usable"]) == (None, [], False)
    assert told["fault"] == "refused with 401: no"


def test_the_certificates_gauges():
    one, none = process(identity=identity()), process(identity=identity(held=False))
    for each in (one, none):
        pages.gauges(each)
    text = "".join(one.metrics.render())
    for line in (
        "sidewinder_identity_expires_timestamp_seconds 1767355200",
        "sidewinder_identity_renews_timestamp_seconds 1767312000",
        'sidewinder_identity_enrolments_total{result="done"} 1',
        'sidewinder_identity_enrolments_total{result="failed"} 2',
    ):
        assert line + "\n" in text
    assert "sidewinder_identity_expires_timestamp_seconds 0\n" in "".join(none.metrics.render())


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
        'sidewinder_discovery_wants_total{result="unknown"} 2',
        "sidewinder_drain_seconds 4.5",
        "sidewinder_drain_retired_seconds 1.5",
        'sidewinder_drain_waited_for{what="connections"} 3',
        'sidewinder_drain_waited_for{what="upgraded"} 5',
        'sidewinder_drain_waited_for{what="relayed"} 6',
        "sidewinder_drain_cut 4",
        "sidewinder_spans_exported_total 6",
        "sidewinder_spans_dropped_total 7",
        "sidewinder_spans_waiting 8",
        "sidewinder_access_log_dropped_total 9",
        'sidewinder_background_deaths_total{task="flush"} 1',
        'sidewinder_config_info{state="5a"} 1',
        'sidewinder_tls_handshakes_total{side="server",result="ok"} 12',
        "sidewinder_tls_connections 1",
        "sidewinder_tls_handshakes_pending 1",
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
        identity=identity(),
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
