"""filters: a filter knows its paths, its headers and its templates, with the fields that hold them."""

from __future__ import annotations

import msgspec

from sidewinder_operator.resources.filters import FILTERS, Filter
from tests.support.specimens import specimens


def test_templates_and_paths_have_their_fields() -> None:
    raw = specimens()["ApiRoute"]["spec"]["rules"]
    headers, _, rewrite = (msgspec.convert(each, Filter) for each in raw[0]["filters"])
    assert list(headers.templates()) == [("requestHeaderModifier.set[0].valueTemplate", "v{version}")]
    assert [field for field, _ in headers.fields()] == ["requestHeaderModifier.set[0]", "requestHeaderModifier.add[0]"]
    assert list(rewrite.templates()) == [("urlRewrite.path.replaceTemplate", "/ratings/{id}")]
    redirect = msgspec.convert(raw[2]["filters"][0], Filter)
    assert [(field, path.type) for field, path in redirect.paths()] == [("requestRedirect.path", "ReplaceFullPath")]
    answer = msgspec.convert(raw[5]["filters"][0], Filter)
    assert [field for field, _ in answer.fields()] == ["directResponse.headers[0]"]


def test_every_type_has_a_payload_of_its_name() -> None:
    names = dict(zip(Filter.__struct_encode_fields__, Filter.__struct_fields__, strict=True))
    assert set(FILTERS.values()) == set(names) - {"type"}
