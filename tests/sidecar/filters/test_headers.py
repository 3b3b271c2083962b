import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.filters import headers
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.snapshot.filters import FieldValue, RequestHeaders, ResponseHeaders
from tests.support.calls import call, rows

RECEIVED = ((b"X-A", b"1"), (b"x-b", b"2"), (b"x-a", b"3"))
CASES = {
    "set replaces all": (RequestHeaders(set=(FieldValue("X-a", "n"),)), [(b"x-b", b"2"), (b"X-a", b"n")]),
    "set adds": (RequestHeaders(set=(FieldValue("x-c", "n"),)), [*RECEIVED, (b"x-c", b"n")]),
    "add keeps": (RequestHeaders(add=(FieldValue("x-a", "n"),)), [*RECEIVED, (b"x-a", b"n")]),
    "remove takes all": (RequestHeaders(remove=("X-A",)), [(b"x-b", b"2")]),
    "remove of nothing": (RequestHeaders(remove=("x-z",)), [*RECEIVED]),
    "set, add, remove in that order": (
        RequestHeaders(set=(FieldValue("x-c", "1"),), add=(FieldValue("x-c", "2"),), remove=("x-a",)),
        [(b"x-b", b"2"), (b"x-c", b"1"), (b"x-c", b"2")],
    ),
    "template": (
        RequestHeaders(set=(FieldValue("x-b", "id {id}", template=True),), remove=("x-a",)),
        [(b"x-b", b"id 7%0D%0Ax: y")],
    ),
    "template added": (RequestHeaders(add=(FieldValue("x-b", "{none}", template=True),)), [*RECEIVED, (b"x-b", b"")]),
    "braces without template": (RequestHeaders(add=(FieldValue("x-d", "{id}"),)), [*RECEIVED, (b"x-d", b"{id}")]),
}


@pytest.mark.parametrize(("spec", "wanted"), CASES.values(), ids=CASES)
def test_request(spec, wanted):
    asked = call(b"/", *RECEIVED, captures={"id": "7\r\nx: y"})
    headers.request(spec)(asked)
    assert rows(asked.request.fields) == wanted


def test_response():
    answer = Response(200, fields(*RECEIVED))
    headers.response(ResponseHeaders(set=(FieldValue("x-b", "n"),), remove=("x-a",)))(call(), answer)
    assert rows(answer.fields) == [(b"x-b", b"n")]


def test_what_changes_nothing_is_nothing():
    assert headers.request(RequestHeaders()) is None
    assert headers.response(ResponseHeaders()) is None


@pytest.mark.parametrize("name", [*sorted(headers.OWN), "Content-Length", "HOST"])
@pytest.mark.parametrize("where", ["set", "add", "remove"])
def test_names_of_the_proxy_are_refused(name, where):
    change = (name,) if where == "remove" else (FieldValue(name, "x"),)
    with pytest.raises(ValueError, match="belongs to the proxy"):
        headers.request(RequestHeaders(**{where: change}))


@pytest.mark.parametrize("name", ["", "x y", "x:", "x\r\ny", "é", "x" * 300])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="is no header name"):
        headers.request(RequestHeaders(set=(FieldValue(name, "x"),)))


@pytest.mark.parametrize("value", ["a\r\nb", "a\0", "\x7f", "\n"])
def test_values_with_control_characters_are_refused(value):
    with pytest.raises(ValueError, match="control character"):
        headers.response(ResponseHeaders(add=(FieldValue("x-a", value),)))
