"""The index costs the same from ten routes to ten thousand: counted in looks, not in time."""

from __future__ import annotations

import sys

import pytest

from sidewinder_sidecar.router.index import FEW, prefix_key
from tests.support.routing import asked, exact, match, prefix, regex, router


def calls_of(run):
    """Function calls, Python's and C's, that a run makes."""
    count = 0

    def watch(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


KINDS = {
    "exact": (lambda n: [match(exact(f"/svc{n}/items"))], b"/svc5/items"),
    "prefix": (lambda n: [match(prefix(f"/svc{n}"))], b"/svc5/items/1"),
    "expression": (lambda n: [match(regex(f"/svc{n}/[a-z]+"))], b"/svc5/items"),
    "header": (lambda n: [match(prefix("/"), headers={"x-tenant": str(n)})], b"/items"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_thousand_routes_cost_what_ten_cost(kind):
    make, target = KINDS[kind]
    few, many = (router(*[make(n) for n in range(count)]) for count in (10, 2_000))
    request = asked(target, (b"x-tenant", b"5"))
    assert few.match(request).name == many.match(request).name == "5"
    missing = asked(b"/nothing/here", (b"x-tenant", b"none"))
    assert few.match(missing) is many.match(missing) is None
    assert calls_of(lambda: many.match(request)) <= calls_of(lambda: few.match(request)) + 1
    assert calls_of(lambda: many.match(missing)) <= calls_of(lambda: few.match(missing)) + 2


def test_a_path_of_slashes_costs_no_more_than_the_longest_prefix():
    made = router([match(prefix("/a/b/c"))])
    assert calls_of(lambda: made.match(asked(b"/" * 8000))) < 60


def test_keys_and_thresholds():
    assert [prefix_key(prefix(one)) for one in ("/", "/a", "/a/", "/a//")] == [b"", b"/a", b"/a", b"/a"]
    assert FEW > 1
    assert "PrefixPath /a" in repr(router([match(prefix("/a"))])._any._prefixes[b"/a"]._entries[0])
