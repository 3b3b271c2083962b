"""What a rule's filters mean: each written filter as the snapshot's. Called by `routes`, for rules and for backends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from sidewinder_operator.compile import cors
from sidewinder_operator.resources import share
from sidewinder_operator.resources.constraints import snake
from sidewinder_operator.resources.cors import CorsFilter
from sidewinder_operator.resources.fault import Fault as WrittenFault
from sidewinder_operator.resources.fault import FaultAbort, FaultDelay, moment
from sidewinder_operator.resources.filters import FILTERS, Filter, HeaderField, PathModifier
from sidewinder_operator.resources.filters import DirectResponse as WrittenResponse
from sidewinder_operator.resources.filters import HeaderModifier as WrittenModifier
from sidewinder_operator.resources.filters import RequestRedirect as WrittenRedirect
from sidewinder_operator.resources.filters import URLRewrite as WrittenRewrite
from sidewinder_operator.resources.mirror import RequestMirror
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot.filters import (
    Abort,
    Cors,
    Delay,
    DirectResponse,
    Fault,
    FieldValue,
    FilterSpec,
    FullPath,
    Mirror,
    PathReplacement,
    PrefixReplacement,
    Redirect,
    RequestHeaders,
    ResponseHeaders,
    Rewrite,
    TemplatePath,
)

# Filters that answer themselves: a rule with one needs no backend.
ANSWERS = frozenset({"RequestRedirect", "DirectResponse"})


# The backend's name that a mirror means, "" if there is none; the field of the reference is told with it.
Resolve: TypeAlias = Callable[[RequestMirror, str], str]


def filters(written: Iterable[Filter], resolve: Resolve) -> tuple[FilterSpec, ...]:
    """The filters in the order written. One whose payload is missing was told by the reader and does nothing here, like
    a mirror whose backend is not there, which `resolve` tells."""
    return tuple(_filters(written, resolve))


def _filters(written: Iterable[Filter], resolve: Resolve) -> Iterator[FilterSpec]:
    for number, each in enumerate(written):
        payload = getattr(each, _PAYLOADS[each.type])
        if isinstance(payload, RequestMirror):
            if name := resolve(payload, f"filters[{number}].requestMirror.backendRef"):
                yield _mirror(payload, name)
        elif payload is not None:
            yield _VERBS[each.type](payload)


def _request_headers(written: WrittenModifier) -> FilterSpec:
    return RequestHeaders(set=_fields(written.set), add=_fields(written.add), remove=written.remove)


def _response_headers(written: WrittenModifier) -> FilterSpec:
    return ResponseHeaders(set=_fields(written.set), add=_fields(written.add), remove=written.remove)


def _redirect(written: WrittenRedirect) -> FilterSpec:
    return Redirect(
        scheme=written.scheme or "",
        hostname=written.hostname or "",
        port=written.port or 0,
        path=_path(written.path),
        status=written.status_code,
    )


def _rewrite(written: WrittenRewrite) -> FilterSpec:
    return Rewrite(hostname=written.hostname or "", path=_path(written.path))


def _direct(written: WrittenResponse) -> FilterSpec:
    return DirectResponse(status=written.status_code, body=written.body, headers=_fields(written.headers))


def _cors(written: CorsFilter) -> FilterSpec:
    return Cors(cors.spec(cors.meant(written), ""))


def _mirror(written: RequestMirror, backend: str) -> FilterSpec:
    numerator, denominator = share.of(written.percent, written.fraction)
    return Mirror(backend=backend, numerator=numerator, denominator=denominator, compare=written.compare)


def _fault(written: WrittenFault) -> FilterSpec:
    return Fault(
        delay=_delay(written.delay) if written.delay is not None else None,
        abort=_abort(written.abort) if written.abort is not None else None,
        headers=written.headers == "Allow",
        expires=(moment(written.expires) or 0.0) if written.expires is not None else 0.0,
    )


def _delay(written: FaultDelay) -> Delay:
    numerator, denominator = share.of(written.percent, written.fraction)
    return Delay(seconds=seconds(written.duration), numerator=numerator, denominator=denominator)


def _abort(written: FaultAbort) -> Abort:
    numerator, denominator = share.of(written.percent, written.fraction)
    return Abort(status=written.status_code or 0, numerator=numerator, denominator=denominator)


def _fields(written: Iterable[HeaderField]) -> tuple[FieldValue, ...]:
    return tuple(
        FieldValue(field.name, field.value_template, template=True)
        if field.value_template is not None
        else FieldValue(field.name, field.value or "")
        for field in written
    )


def _path(written: PathModifier | None) -> PathReplacement | None:
    if written is None:
        return None
    verb, attribute = _REPLACEMENTS[written.type]
    return verb(getattr(written, attribute) or "")


_PAYLOADS: Mapping[str, str] = {kind: snake(field) for kind, field in FILTERS.items()}
_VERBS: Mapping[str, Callable[[Any], FilterSpec]] = {
    "RequestHeaderModifier": _request_headers,
    "ResponseHeaderModifier": _response_headers,
    "RequestRedirect": _redirect,
    "URLRewrite": _rewrite,
    "DirectResponse": _direct,
    "CORS": _cors,
    "Fault": _fault,
}
_REPLACEMENTS: Mapping[str, tuple[Callable[[str], PathReplacement], str]] = {
    "ReplaceFullPath": (FullPath, "replace_full_path"),
    "ReplacePrefixMatch": (PrefixReplacement, "replace_prefix_match"),
    "ReplaceTemplate": (TemplatePath, "replace_template"),
}
