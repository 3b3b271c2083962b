"""Each written filter as the snapshot's."""

from __future__ import annotations

import pytest
from msgspec import convert

from sidewinder_operator.compile.filters import ANSWERS, filters
from sidewinder_operator.resources.filters import FILTERS, Filter
from sidewinder_operator.resources.mirror import RequestMirror
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
    PrefixReplacement,
    Redirect,
    RequestHeaders,
    ResponseHeaders,
    Rewrite,
    TemplatePath,
)
from sidewinder_sidecar.snapshot.policies import CorsSpec

CASES: list[tuple[dict[str, object], FilterSpec]] = [
    (
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [{"name": "A", "valueTemplate": "{x}"}], "remove": ["B"]},
        },
        RequestHeaders(set=(FieldValue("A", "{x}", True),), remove=("B",)),
    ),
    (
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "A", "value": "1"}]}},
        ResponseHeaders(add=(FieldValue("A", "1"),)),
    ),
    (
        {"type": "CORS", "cors": {"allowOrigins": ["https://shop.example:443"], "allowMethods": ["PUT"]}},
        Cors(CorsSpec(allow_origins=("https://shop.example",), allow_methods=("PUT",))),
    ),
    ({"type": "RequestRedirect", "requestRedirect": {}}, Redirect()),
    (
        {
            "type": "RequestRedirect",
            "requestRedirect": {
                "scheme": "https",
                "hostname": "a.example",
                "port": 8443,
                "statusCode": 308,
                "path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"},
            },
        },
        Redirect(scheme="https", hostname="a.example", port=8443, status=308, path=FullPath("/x")),
    ),
    (
        {
            "type": "URLRewrite",
            "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}, "hostname": "b.example"},
        },
        Rewrite(hostname="b.example", path=PrefixReplacement("")),
    ),
    (
        {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceTemplate", "replaceTemplate": "/{id}"}}},
        Rewrite(path=TemplatePath("/{id}")),
    ),
    (
        {
            "type": "DirectResponse",
            "directResponse": {"statusCode": 204, "body": "b", "headers": [{"name": "A", "value": "1"}]},
        },
        DirectResponse(status=204, body="b", headers=(FieldValue("A", "1"),)),
    ),
    (
        {
            "type": "RequestMirror",
            "requestMirror": {"backendRef": {"name": "shadow", "port": 80}, "percent": 5, "compare": True},
        },
        Mirror(backend="shop/shadow:80", numerator=5, denominator=100, compare=True),
    ),
    (
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}},
        Mirror(backend="shop/shadow:80"),
    ),
    (
        {
            "type": "Fault",
            "fault": {
                "delay": {"duration": "300ms", "percent": 1},
                "abort": {"statusCode": 503, "fraction": {"numerator": 1, "denominator": 1000}},
                "expires": "1970-01-01T01:00:10+01:00",
            },
        },
        Fault(
            delay=Delay(seconds=0.3, numerator=1, denominator=100),
            abort=Abort(status=503, numerator=1, denominator=1000),
            expires=10.0,
        ),
    ),
    (
        {"type": "Fault", "fault": {"abort": {"reset": True, "percent": 100}, "headers": "Allow"}},
        Fault(abort=Abort(status=0, numerator=100, denominator=100), headers=True),
    ),
]


def named(mirror: RequestMirror, field: str) -> str:
    return f"shop/{mirror.backend_ref.name}:{mirror.backend_ref.port}"


@pytest.mark.parametrize(("written", "meant"), CASES)
def test_filter(written: dict[str, object], meant: FilterSpec) -> None:
    assert filters([convert(written, Filter)], named) == (meant,)


def test_every_filter_has_a_meaning() -> None:
    assert {str(written["type"]) for written, _ in CASES} == set(FILTERS)
    assert set(FILTERS) >= ANSWERS


def test_the_order_stays_as_written() -> None:
    written = [convert(written, Filter) for written, _ in reversed(CASES)]
    assert filters(written, named) == tuple(meant for _, meant in reversed(CASES))


def test_a_filter_without_its_payload_does_nothing() -> None:
    assert filters([Filter(type="URLRewrite")], named) == ()


def test_a_mirror_whose_backend_is_not_there_is_left_out() -> None:
    asked: list[str] = []

    def missing(mirror: RequestMirror, field: str) -> str:
        asked.append(field)
        return ""

    written = [convert(case, Filter) for case, meant in CASES if isinstance(meant, DirectResponse | Mirror)]
    assert filters(written, missing) == tuple(meant for _, meant in CASES if isinstance(meant, DirectResponse))
    assert asked[0] == "filters[1].requestMirror.backendRef"
