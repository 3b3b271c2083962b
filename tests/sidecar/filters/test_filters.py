import pytest

from sidewinder_sidecar import filters
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.snapshot.filters import (
    DirectResponse,
    FieldValue,
    Redirect,
    RequestHeaders,
    ResponseHeaders,
    Rewrite,
)
from tests.support.calls import call

SET = (FieldValue("x-a", "1"),)


@pytest.mark.parametrize(
    ("spec", "status"),
    [(RequestHeaders(set=SET), None), (Rewrite(hostname="x"), None), (Redirect(), 302), (DirectResponse(), 200)],
    ids=repr,
)
def test_a_request_filter_goes_on_or_answers(spec, status):
    verdict = filters.request_filter(spec, b"/")(call())
    assert (verdict.status if verdict is not None else None) == status
    assert filters.response_filter(spec) is None


def test_a_response_filter():
    spec = ResponseHeaders(set=SET)
    assert filters.request_filter(spec, b"/") is None
    answer = Response(200, fields())
    filters.response_filter(spec)(call(), answer)
    assert answer.fields.get(b"x-a") == b"1"


def test_every_kind_of_filter_is_known():
    from typing import get_args

    from sidewinder_sidecar.snapshot.filters import FilterSpec

    assert {kind.__name__ for kind in get_args(FilterSpec)} == {
        "RequestHeaders", "ResponseHeaders", "Redirect", "Rewrite", "DirectResponse",
    }  # fmt: skip
    assert filters.ORDER == (filters.RULE,)
