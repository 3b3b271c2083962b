"""Who a certificate says that its holder is; the dictionaries are what `ssl` gives for verified certificates."""

from __future__ import annotations

import pytest

from sidewinder_operator.discovery.caller import Caller, Stranger, read

SPIFFE = "spiffe://cluster.local/ns/shop/sa/reviews"
LEAF = {
    "subject": ((("commonName", "5b6e"),),),
    "subjectAltName": (("URI", SPIFFE), ("DNS", "reviews")),
    "notAfter": "Nov 22 16:00:00 2026 GMT",
}


def test_a_leaf_tells_identity_name_and_end() -> None:
    assert read(LEAF) == Caller(SPIFFE, "5b6e", 1795363200.0)


def test_without_one_common_name_nobody_is_named() -> None:
    assert read(LEAF | {"subject": ()}).name == ""
    assert read(LEAF | {"subject": ((("commonName", "a"),), (("commonName", "b"),))}).name == ""
    assert read(LEAF | {"subject": ((("organizationName", "a"),),)}).name == ""


@pytest.mark.parametrize(
    ("certificate", "told"),
    [
        (None, "enrol first"),
        ({}, "enrol first"),
        (LEAF | {"subjectAltName": (("DNS", SPIFFE),)}, "no SPIFFE ID"),
        (LEAF | {"subjectAltName": (("URI", "https://shop"),)}, "no SPIFFE ID"),
        (LEAF | {"subjectAltName": (("URI", SPIFFE), ("URI", SPIFFE))}, "several"),
    ],
    ids=["no TLS", "no certificate", "a DNS name", "another URI", "two"],
)
def test_a_stranger_is_told_why(certificate, told) -> None:
    with pytest.raises(Stranger, match=told):
        read(certificate)
