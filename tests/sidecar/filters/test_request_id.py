import re

import pytest

from sidewinder_sidecar.filters import request_id
from tests.support.calls import call


@pytest.mark.parametrize("given", [b"a", b"4bf92f35-77b3-4da6", b"x" * 128, b"a/b+c=@d:e~f"])
def test_a_valid_one_is_kept(given):
    asked = call(b"/", (b"X-Request-Id", given))
    request_id.apply(asked)
    assert asked.request_id == given == asked.request.fields.get(b"x-request-id")
    assert not asked.request.fields.added


@pytest.mark.parametrize("given", [None, b"", b"a b", b'a"b', b"x" * 129, b"\xff", b"a,b"])
def test_any_other_is_replaced(given):
    asked = call(b"/", *([(b"X-Request-Id", given)] if given is not None else []))
    request_id.apply(asked)
    assert re.fullmatch(rb"[0-9a-f]{32}", asked.request_id)
    assert asked.request.fields.all(b"x-request-id") == [asked.request_id]


def test_a_root_of_a_trace_gives_its_id():
    asked = call(trace_id=b"4bf92f3577b34da6a3ce929d0e0e4736")
    request_id.apply(asked)
    assert asked.request_id == asked.trace_id


def test_requests_of_one_trace_differ():
    found = set()
    for _ in range(2):
        asked = call(trace_id=b"4bf92f3577b34da6a3ce929d0e0e4736", parent_id=b"00f067aa0ba902b7")
        request_id.apply(asked)
        found.add(asked.request_id)
    assert len(found | {asked.trace_id}) == 3
