"""Which service a request at a listener is for, and what may be dialled from there."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.messages import Reply
from sidewinder_sidecar.plan.listeners import Listener
from sidewinder_sidecar.plan.services import Service, Table
from tests.support.memory import listener, service


def made(default=False, **options):
    owner = Service(service(), (), None)
    table = Table((owner,))
    list(table.compile())
    return Listener(listener(**options), table, Service(service(name="default"), (), None) if default else None)


def test_the_table_then_the_default_then_nobody():
    assert made().find(b"reviews:9080").name == "shop/reviews:9080"
    assert made().find(b"other") is None
    assert made(default=True).find(b"other").name == "default"
    assert made(default=True).find(b"reviews:9080").name == "shop/reviews:9080"


def test_what_was_found_is_remembered_what_was_not_is_not():
    one = made()
    one.find(b"reviews.:9080")
    one.find(b"other")
    assert list(one.known) == [b"reviews.:9080"]


@pytest.mark.parametrize(
    ("authority", "to"),
    [
        (b"example.org", ("example.org", 80)),
        (b"example.org:8443", ("example.org", 8443)),
        (b"example.org.", ("example.org", 80)),
        (b"[2001:db8::1]:81", ("2001:db8::1", 81)),
        (b"[2001:db8::1]", ("2001:db8::1", 80)),
        (b"", "bad_request"),
        (b":80", "bad_request"),
        (b"a:b", "bad_request"),
        (b"a:0", "bad_request"),
        (b"a:65536", "bad_request"),
        (b"localhost:15001", "loop"),
        (b"[::1]:15001", "loop"),
        (b"localhost:15002", ("localhost", 15002)),
    ],
)
def test_what_may_be_dialled(authority, to):
    one = made(pass_through=True)
    found = one.outside(authority, {"out": one})
    assert (found.error if isinstance(found, Reply) else found) == to


def test_only_where_it_is_allowed():
    assert made().outside(b"example.org", {}).error == "no_route"
    assert "Outbound 127.0.0.1:15001" in repr(made())
