"""One record per exchange feeds all: metrics, access log, spans. Called by the exchange when all is over, and with a
record of its own for each connection that was relayed."""

from __future__ import annotations

from sidewinder_sidecar.messages import Call, Relayed
from sidewinder_sidecar.telemetry.access_log import AccessLog
from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.telemetry.spans import Spans


class Recorder:
    """What is off is None and costs a comparison."""

    __slots__ = ("access_log", "metrics", "spans")

    def __init__(self, metrics: Metrics, access_log: AccessLog | None = None, spans: Spans | None = None) -> None:
        self.metrics = metrics
        self.access_log = access_log
        self.spans = spans

    def __call__(self, call: Call) -> None:
        """Tell everybody."""
        self.metrics.observe(call)
        if self.access_log is not None:
            self.access_log(call)
        if call.sampled and self.spans is not None:
            self.spans(call)

    def relayed(self, relayed: Relayed) -> None:
        """Tell everybody of a connection that was relayed; it has no spans."""
        self.metrics.connections.observe(relayed)
        if self.access_log is not None:
            self.access_log.relayed(relayed)

    def flush(self) -> None:
        """Once a second: what waits goes on its way."""
        if self.access_log is not None:
            self.access_log.flush()
        if self.spans is not None:
            self.spans.tick()

    def close(self, seconds: float) -> None:
        """Before the process ends."""
        self.flush()
        if self.access_log is not None:
            self.access_log.writer.close(seconds)
        if self.spans is not None:
            self.spans.close(seconds)
