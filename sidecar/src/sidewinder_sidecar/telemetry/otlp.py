"""Spans through opentelemetry-sdk and its OTLP/HTTP exporter. Imported by `spans` in a thread, when one is sampled.

The exporter's own transport would import requests and urllib3 (10 MB); `Post` speaks through http.client, which asyncio
has loaded already. The exporter retries and gives up by itself; here it is only counted and said once.
"""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from opentelemetry.exporter.http.transport._base import BaseHTTPResult, BaseHTTPTransport
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from sidewinder_sidecar.telemetry.spans import Span, Target

log = logging.getLogger("sidewinder.spans")

EVERY_MS = 1000  # a person who looks for a trace waits a second, not the SDK's five
BATCH = 256  # spans; half the SDK's: what is encoded at once holds the interpreter for 10 ms less
TIMEOUT = 5.0  # seconds for a batch with its retries; meanwhile the queue fills

KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSET, FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
SCOPE = InstrumentationScope("sidewinder", "")


@dataclass(frozen=True, slots=True)
class Posted(BaseHTTPResult):
    """The receiver's answer."""

    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body

    def headers(self) -> Mapping[str, str]:
        return self.fields


class Post(BaseHTTPTransport):
    """One kept-alive connection to the receiver. Used by the exporter's thread only."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.netloc)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        data: bytes | None = None,
    ) -> BaseHTTPResult:
        """Send and read the whole answer; a failure is a result, as the exporter wants it."""
        connection = self._connection
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request(method, urlsplit(url).path or "/", body=data, headers=headers or {})
            answer = connection.getresponse()
            body = answer.read(65536)  # a partial-success message; more is not for us
            if not answer.isclosed():
                connection.close()
        except (OSError, http.client.HTTPException) as fault:
            connection.close()
            return Posted(error=fault)
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Posted(answer.status, answer.reason, None, body, fields)

    def is_connection_error(self, exception: Exception | None) -> bool:
        """Whether trying again may help."""
        return isinstance(exception, OSError | http.client.HTTPException)

    def close(self) -> None:
        self._connection.close()


class Counting(SpanExporter):
    """Counts what the exporter takes and loses; says once that the receiver is away, and once that it is back."""

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self.inner = inner
        self.endpoint = endpoint
        self.finished = 0
        self.exported = 0
        self.away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self.inner.export(spans)
        self.finished += len(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        if self.away != (result is not SpanExportResult.SUCCESS):
            self.away = not self.away
            log.warning("the receiver of spans at %s %s", self.endpoint, "is away" if self.away else "is back")
        return result

    def shutdown(self) -> None:
        self.inner.shutdown()


class Pipeline:
    """Queue, batch thread, exporter."""

    def __init__(self, target: Target, bound: int) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # one line a batch; Counting says it once
        url = urlsplit(target.endpoint)
        endpoint = target.endpoint if url.path.strip("/") else f"{url.scheme}://{url.netloc}/v1/traces"
        pairs = (pair.partition("=") for pair in target.headers.split(",") if pair)
        exporter = OTLPSpanExporter(
            endpoint,
            headers={name.strip().lower(): unquote(value.strip()) for name, _, value in pairs},
            timeout=TIMEOUT,
            _transport=Post(endpoint),
        )
        self._counting = Counting(exporter, f"{url.scheme}://{url.hostname}:{url.port or ''}".rstrip(":"))
        self._processor = BatchSpanProcessor(
            self._counting,
            max_queue_size=bound,
            schedule_delay_millis=EVERY_MS,
            max_export_batch_size=min(BATCH, bound),
        )
        sdk = {
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": sdk_version,
        }
        self._resource = Resource(sdk | target.resource)

    @property
    def finished(self) -> int:
        """Spans that left the queue."""
        return self._counting.finished

    @property
    def exported(self) -> int:
        """Spans that the receiver took."""
        return self._counting.exported

    def offer(self, span: Span) -> None:
        """Queue one span; `Spans` has seen to it that there is room."""
        trace_id = int(span.trace_id, 16)
        parent = None
        if span.parent_id:
            parent = SpanContext(trace_id, int(span.parent_id, 16), span.remote_parent, SAMPLED)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=SpanContext(trace_id, int(span.span_id, 16), False, SAMPLED),
                parent=parent,
                resource=self._resource,
                attributes=span.attributes,
                kind=KINDS[span.kind],
                status=FAILED if span.failed else UNSET,
                start_time=span.started,
                end_time=span.ended,
                instrumentation_scope=SCOPE,
            )
        )

    def close(self, seconds: float) -> None:
        """Export what waits, for so long at most; the SDK alone would wait half a minute, also for who is away."""
        if self._counting.away:
            self._counting.inner.shutdown()  # what is being tried again is given up
        closing = threading.Thread(target=self._processor.shutdown, name="spans-close", daemon=True)
        closing.start()
        closing.join(seconds)
