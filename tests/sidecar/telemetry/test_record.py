import os

from sidewinder_sidecar.messages import Peer, Relayed
from sidewinder_sidecar.telemetry.access_log import AccessLog
from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.telemetry.record import Recorder
from sidewinder_sidecar.telemetry.writer import Writer
from tests.support.calls import call


class Listening:
    """Plays the spans."""

    def __init__(self):
        self.calls, self.did = [], []

    def __call__(self, told):
        self.calls.append(told)

    def tick(self):
        self.did.append("tick")

    def close(self, seconds):
        self.did.append(f"close {seconds}")


def test_one_record_feeds_all(tmp_path):
    file = tmp_path / "access.log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    log, spans, metrics = AccessLog(Writer(descriptor)), Listening(), Metrics()
    record = Recorder(metrics, log, spans)
    told = [call(status=200), call(status=200, sampled=True)]
    for one in told:
        record(one)
    assert metrics.requests() == 2
    assert spans.calls == told[1:]
    record.close(1.0)
    assert spans.did == ["tick", "close 1.0"]
    assert len(file.read_text().splitlines()) == 2
    os.close(descriptor)


def test_a_relayed_connection_is_told_to_all_but_the_spans(tmp_path):
    file = tmp_path / "access.log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    spans, metrics = Listening(), Metrics()
    record = Recorder(metrics, AccessLog(Writer(descriptor)), spans)
    record.relayed(Relayed("outbound", Peer(), 1.0))
    record.close(1.0)
    assert spans.calls == []
    assert sum(sum(one.errors.values()) for one in metrics.connections.series.values()) == 1
    assert len(file.read_text().splitlines()) == 1
    os.close(descriptor)


def test_what_is_off_is_not_told():
    record = Recorder(Metrics())
    record.relayed(Relayed("outbound", Peer(), 1.0))
    record(call(sampled=True))
    record.flush()
    record.close(1)
    assert record.metrics.requests() == 1
