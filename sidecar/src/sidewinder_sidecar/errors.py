"""The one table from what went wrong to what is answered. Asked by exchange, telemetry and the protocols' edges.

A key names what happened. `type` is RFC 9209's proxy error type, `flag` the short mark in access log and metrics
(Envoy's, where
it has one), `retry` the retry condition it counts as ("" for never), `close` whether the downstream connection ends
with it.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from sidewinder_sidecar.fields import Fields, Row
from sidewinder_sidecar.messages import Reply, Request, Response


class DownstreamError(Exception):
    """The caller misbehaves; `error` is a key of TABLE. Raised at the downstream protocol's edge only."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail


class UpstreamError(Exception):
    """The upstream misbehaves; `error` is a key of TABLE. Raised at the upstream protocol's edge only."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail


class Rule(NamedTuple):
    """What an error means to everybody."""

    status: int
    grpc: int
    type: str
    flag: str
    retry: str
    close: bool
    meaning: str  # for a person, when nothing more exact is known


_ROWS: Final[dict[str, tuple[int, int, str, str, str, bool, str]]] = {
    # the caller's request
    "bad_request": (400, 3, "http_request_error", "DPE", "", True, "the request is not valid HTTP"),
    "uri_too_long": (414, 3, "http_request_error", "DPE", "", True, "the request line is too long"),
    "headers_too_large": (431, 3, "http_request_error", "DPE", "", True, "the request's header fields are too large"),
    "body_too_large": (413, 8, "http_request_error", "RL", "", True, "the request's body is too large"),
    "version_not_supported": (505, 3, "http_request_error", "DPE", "", True,
        "only HTTP/1.0 and HTTP/1.1 are spoken here"),
    "not_implemented": (501, 12, "http_request_error", "DPE", "", True, "the transfer coding is not known"),
    "expectation_failed": (417, 3, "http_request_error", "DPE", "", True, "only 100-continue can be expected"),
    "request_timeout": (408, 4, "http_request_error", "DT", "", True, "the request did not arrive in time"),
    "bad_path": (400, 3, "http_request_error", "DPE", "", False, "the path can be read in more than one way"),
    "proxy_protocol": (400, 3, "http_request_error", "DPE", "", True,
        "the connection does not begin with a PROXY protocol header"),
    "misdirected": (421, 12, "http_request_error", "NR", "", False, "this listener does not serve that host"),
    "caller_gone": (499, 1, "http_request_error", "DC", "", True,
        "the caller closed the connection before the answer ended"),
    # routing and policy
    "no_route": (404, 12, "destination_not_found", "NR", "", False, "no route matches the request"),
    "invalid_backend": (500, 13, "proxy_configuration_error", "NC", "", False, "the route's backend does not exist"),
    "no_backend": (500, 13, "proxy_configuration_error", "NC", "", False, "the route has no backend with a weight"),
    "no_endpoints": (503, 14, "destination_unavailable", "UH", "", False, "the backend has no endpoint"),
    "denied": (403, 7, "http_request_denied", "RBAC", "", False, "a policy refuses the request"),
    "unauthenticated": (401, 16, "http_request_denied", "AUTH", "", False, "valid credentials are required"),
    "fault": (503, 14, "proxy_internal_response", "FI", "", False, "a fault is injected here"),
    "insufficient_scope": (403, 7, "http_request_denied", "AUTH", "", False, "the token does not reach that far"),
    "authentication_unavailable": (503, 14, "http_request_denied", "AUTH", "", False,
        "whether the credentials are valid cannot be found out just now"),
    "overloaded": (503, 8, "connection_limit_reached", "UO", "", False, "too many connections or requests"),
    "draining": (503, 14, "destination_unavailable", "DR", "", True, "the proxy is shutting down"),
    "loop": (508, 13, "proxy_loop_detected", "LO", "", True, "the request came back to the proxy that sent it"),
    # the way to the upstream
    "dns_error": (502, 14, "dns_error", "UF", "ConnectFailure", False, "the host name cannot be resolved"),
    "connect_refused": (503, 14, "connection_refused", "UF", "ConnectFailure", False,
        "the upstream refuses connections"),
    "connect_failed": (503, 14, "destination_unavailable", "UF", "ConnectFailure", False,
        "the upstream cannot be reached"),
    "connect_timeout": (504, 14, "connection_timeout", "UF", "ConnectFailure", False,
        "connecting to the upstream took too long"),
    "tls_failed": (502, 14, "tls_protocol_error", "UF", "ConnectFailure", False,
        "TLS with the upstream could not be established"),
    "tls_identity": (502, 14, "tls_certificate_error", "UF", "ConnectFailure", False,
        "somebody else answers at the upstream's address"),
    # the upstream's answer
    "reset_before_request": (503, 14, "connection_terminated", "UC", "ResetBeforeRequest", False,
        "the upstream closed the connection before it read the request"),
    "reset": (502, 14, "connection_terminated", "UC", "Reset", False,
        "the upstream closed the connection before it answered"),
    "incomplete": (502, 14, "http_response_incomplete", "UC", "", True, "the upstream's answer ended early"),
    "upstream_protocol": (502, 13, "http_protocol_error", "UPE", "Reset", False,
        "the upstream's answer is not valid HTTP"),
    "response_headers_too_large": (502, 13, "http_response_header_section_size", "UPE", "", False,
        "the upstream's header fields are too large"),
    "response_too_large": (502, 8, "http_response_body_size", "RL", "", True, "the upstream's answer is too large"),
    "upgrade_failed": (502, 13, "http_upgrade_failed", "UPE", "", True, "the upstream changed protocols unasked"),
    "try_timeout": (504, 4, "connection_read_timeout", "UT", "Timeout", False, "the upstream did not answer in time"),
    "deadline": (504, 4, "http_response_timeout", "DT", "", False, "the request's time is over"),
    "idle": (504, 4, "connection_read_timeout", "SI", "", True, "nothing moved for too long"),
    # us
    "bug": (500, 13, "proxy_internal_error", "BUG", "", True, "an error of the proxy's own; its log says more"),
}  # fmt: skip

TABLE: Final[dict[str, Rule]] = {name: Rule(*row) for name, row in _ROWS.items()}

LONGEST_DETAIL: Final = 400  # characters in Proxy-Status: a field that any client takes, long enough for one sentence
RETRY_AFTER: Final = b"1"  # seconds; what is overloaded or shutting down has moved on by then
BODILESS: Final = frozenset({204, 304})  # RFC 9110: no content, whatever a direct response's manifest says
_SOON: Final = frozenset({"overloaded", "draining"})
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~:/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def refusal(error: str, detail: str = "") -> Reply:
    """The table's answer to `error`; without a detail its meaning is told."""
    rule = TABLE[error]
    return Reply(rule.status, error, detail or rule.meaning)


def render(reply: Reply, request: Request | None, proxy_name: str) -> tuple[Response, bytes]:
    """The head and body of an answer of the proxy's own, for `request` (None: it could not be parsed)."""
    rows: list[Row] = [(name.lower(), name, value) for name, value in reply.fields]
    body = reply.body
    if reply.error:
        detail = reply.detail or TABLE[reply.error].meaning
        rows.append((b"proxy-status", b"proxy-status", _proxy_status(proxy_name, reply.error, detail)))
        if reply.error in _SOON:
            rows.append((b"retry-after", b"retry-after", RETRY_AFTER))
        if body is None:
            kind, body = _body(reply.status, reply.error, detail, request)
            rows.append((b"content-type", b"content-type", kind))
    body = body or b""
    if reply.status in BODILESS:
        return Response(reply.status, Fields(rows), 0), b""
    rows.append((b"content-length", b"content-length", b"%d" % len(body)))
    response = Response(reply.status, Fields(rows), len(body))
    response.close = bool(reply.error) and TABLE[reply.error].close
    return response, b"" if request is not None and request.method == b"HEAD" else body


def _proxy_status(proxy_name: str, error: str, detail: str) -> bytes:
    """RFC 9209: one item of RFC 8941 with its parameters."""
    name = proxy_name if _is_token(proxy_name) else _string(proxy_name)
    return f"{name}; error={TABLE[error].type}; details={_string(detail[:LONGEST_DETAIL])}".encode("ascii")


def _is_token(text: str) -> bool:
    return bool(text) and (text[0].isalpha() or text[0] == "*") and _TOKEN.issuperset(text[1:]) and text.isascii()


def _string(text: str) -> str:
    """An RFC 8941 string: visible ASCII and space, backslash and quote escaped; what has no place there becomes `?`."""
    visible = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return '"' + visible.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _body(status: int, error: str, detail: str, request: Request | None) -> tuple[bytes, bytes]:
    if request is not None and b"json" in (request.fields.get(b"accept") or b"").lower():
        text = json.dumps({"status": status, "error": error, "detail": detail}, separators=(",", ":"))
        return b"application/json", text.encode() + b"\n"
    return b"text/plain; charset=utf-8", f"{error}: {detail}\n".encode("utf-8", "replace")
