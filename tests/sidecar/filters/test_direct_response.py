import pytest

from sidewinder_sidecar.filters import direct_response
from sidewinder_sidecar.snapshot.filters import DirectResponse, FieldValue
from tests.support.calls import call

TEXT = (b"content-type", b"text/plain; charset=utf-8")


def test_a_body_gets_a_type_and_one_reply_serves_all():
    answer = direct_response.build(DirectResponse(status=503, body="closed"))
    reply = answer(call())
    assert (reply.status, reply.body, reply.fields, reply.error) == (503, b"closed", (TEXT,), "")
    assert answer(call()) is reply


def test_headers_as_written_and_templates():
    spec = DirectResponse(
        body="{}", headers=(FieldValue("Content-Type", "application/json"), FieldValue("x-id", "{id}", template=True))
    )
    reply = direct_response.build(spec)(call(captures={"id": "7\r\n"}))
    assert reply.fields == ((b"Content-Type", b"application/json"), (b"x-id", b"7%0D%0A"))


@pytest.mark.parametrize("status", direct_response.BODILESS)
def test_some_answers_have_no_body(status):
    assert direct_response.build(DirectResponse(status=status, body="x"))(call()).body == b""


@pytest.mark.parametrize("status", [0, 100, 199, 600])
def test_a_status_that_is_not_final_is_refused(status):
    with pytest.raises(ValueError, match="200 to 599"):
        direct_response.build(DirectResponse(status=status))


def test_framing_is_refused():
    with pytest.raises(ValueError, match="belongs to the proxy"):
        direct_response.build(DirectResponse(headers=(FieldValue("content-length", "9"),)))
