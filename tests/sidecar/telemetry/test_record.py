from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.telemetry.record import Recorder
from tests.support.calls import call


class Listening:
    def __init__(self):
        self.calls, self.did = [], []
        self.writer = self

    def __call__(self, told):
        self.calls.append(told)

    def flush(self):
        self.did.append("flush")

    def tick(self):
        self.did.append("tick")

    def close(self, seconds):
        self.did.append(f"close {seconds}")


def test_one_record_feeds_all():
    log, spans, metrics = Listening(), Listening(), Metrics()
    record = Recorder(metrics, log, spans)
    told = [call(status=200), call(status=200, sampled=True)]
    for one in told:
        record(one)
    assert metrics.requests() == 2
    assert log.calls == told
    assert spans.calls == told[1:]
    record.close(1)
    assert (log.did, spans.did) == (["flush", "close 1"], ["tick", "close 1"])


def test_what_is_off_is_not_told():
    record = Recorder(Metrics())
    record(call(sampled=True))
    record.flush()
    record.close(1)
    assert record.metrics.requests() == 1
