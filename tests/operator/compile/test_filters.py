"""Each written filter as the snapshot's."""

from __future__ import annotations

import pytest
from msgspec import convert

from sidewinder_operator.compile.filters import ANSWERS, filters
from sidewinder_operator.resources.filters import FILTERS, Filter
from sidewinder_sidecar.snapshot.filters import (
    Cors,
    DirectResponse,
    FieldValue,
    FilterSpec,
    FullPath,
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
]


@pytest.mark.parametrize(("written", "meant"), CASES)
def test_filter(written: dict[str, object], meant: FilterSpec) -> None:
    assert filters([convert(written, Filter)]) == (meant,)


def test_every_filter_has_a_meaning() -> None:
    assert {str(written["type"]) for written, _ in CASES} == set(FILTERS)
    assert set(FILTERS) >= ANSWERS


def test_the_order_stays_as_written() -> None:
    written = [convert(written, Filter) for written, _ in reversed(CASES)]
    assert filters(written) == tuple(meant for _, meant in reversed(CASES))


def test_a_filter_without_its_payload_does_nothing() -> None:
    assert filters([Filter(type="URLRewrite")]) == ()
