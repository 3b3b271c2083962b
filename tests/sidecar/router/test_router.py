"""Which route a request gets: a table of cases, the Gateway API's precedence, and a model that is slow and obvious."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.router import Router, host_of
from tests.support.examples import examples
from tests.support.routing import ROUTES, asked, entries, exact, match, prefix, regex, router


@pytest.mark.parametrize(
    ("path", "matched"),
    [
        (b"/a", True),
        (b"/a/", True),
        (b"/a/b", True),
        (b"/a//b", True),
        (b"/ab", False),
        (b"/", False),
        (b"/A", False),
        (b"/a%2Fb", False),
        (b"*", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("written", ["/a", "/a/"])
def test_a_prefix_is_by_element(written, path, matched):
    made = router([match(prefix(written))])
    assert (made.match(asked(path)) is not None) is matched


@pytest.mark.parametrize("path", [b"/", b"/a", b"/a/b/c/d/e/f", b"//", b"*"])
def test_the_root_prefix_matches_every_path(path):
    assert router([match(prefix("/"))]).match(asked(path)) is not None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/a/b", "exact"),
        (b"/a/b/", "long"),
        (b"/a/b/c", "long"),
        (b"/a/c", "short"),
        (b"/x", "root"),
        (b"/a", "short"),
        (b"/a/bb", "short"),
    ],
)
def test_exact_over_longest_prefix_over_root(path, name):
    made = router(
        [match(prefix("/"))],
        [match(prefix("/a"))],
        [match(exact("/a/b"))],
        [match(prefix("/a/b"))],
        names=("root", "short", "exact", "long"),
    )
    assert made.match(asked(path)).name == name


def test_an_expression_comes_last_and_covers_the_whole_path():
    made = router([match(regex("/v[0-9]+/.*"))], [match(prefix("/v1"))], names=("expression", "prefix"))
    assert made.match(asked(b"/v1/x")).name == "prefix"
    assert made.match(asked(b"/v2/x")).name == "expression"
    assert made.match(asked(b"/prefix/v2/x")) is None
    assert made.match(asked(b"/v2")) is None


def test_captures_are_given_to_the_call():
    made = router([match(regex("/v(?P<version>[12])/ratings/(?P<id>[0-9]+)"))])
    call = asked(b"/v2/ratings/77")
    assert made.match(call) is not None
    assert call.captures == {"version": "2", "id": "77"}


def test_method_then_headers_then_query_then_order():
    made = router(
        [match(prefix("/"))],
        [match(prefix("/"), query={"q": "1"})],
        [match(prefix("/"), headers={"x-a": "1"})],
        [match(prefix("/"), headers={"x-a": "1", "x-b": "1"})],
        [match(prefix("/"), method="GET")],
        [match(prefix("/"))],
        names=("any", "query", "one", "two", "method", "late"),
    )
    both = ((b"X-A", b"1"), (b"X-B", b"1"))
    assert made.match(asked(b"/?q=1", *both)).name == "method"
    assert made.match(asked(b"/?q=1", *both, method=b"PUT")).name == "two"
    assert made.match(asked(b"/?q=1", both[0], method=b"PUT")).name == "one"
    assert made.match(asked(b"/?q=1", method=b"PUT")).name == "query"
    assert made.match(asked(b"/?q=2", method=b"PUT")).name == "any"


def test_what_does_not_match_all_falls_to_the_next():
    made = router([match(exact("/a"), method="POST")], [match(prefix("/a"), headers={"x": "1"})], [match(prefix("/"))])
    assert made.match(asked(b"/a")).name == "2"
    assert made.match(asked(b"/a", (b"x", b"1"))).name == "1"
    assert made.match(asked(b"/a", (b"x", b"1"), method=b"POST")).name == "0"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"shop.example", "exact"),
        (b"shop.example:8080", "exact"),
        (b"shop.example.", "exact"),
        (b"a.example", "wild"),
        (b"a.b.example", "wild"),
        (b"a.deep.example", "deep"),
        (b"example", "any"),
        (b"other", "any"),
        (b"[::1]:80", "any"),
    ],
)
def test_hostnames(host, name):
    made = Router()
    for position, (hosts, label) in enumerate(
        [((), "any"), (("*.example",), "wild"), (("*.deep.example",), "deep"), (("Shop.Example",), "exact")]
    ):
        made.add(hosts, entries([match(prefix("/"))], label, position))
    list(made.seal())
    assert made.match(asked(b"/", authority=host)).name == name


def test_a_host_that_matches_but_its_paths_do_not_falls_through():
    made = Router()
    made.add(("a.example",), entries([match(prefix("/only"))], "named"))
    made.add((), entries([match(prefix("/"))], "any"))
    list(made.seal())
    assert made.match(asked(b"/else", authority=b"a.example")).name == "any"
    assert made.match(asked(b"/only", authority=b"a.example")).name == "named"


def test_host_of():
    assert [host_of(one) for one in (b"a:1", b"a.", b"[::1]:2", b"[::1]", b"")] == [b"a", b"a", b"::1", b"::1", b""]


def test_many_values_of_one_header_are_looked_up_not_tried():
    made = router(
        *[[match(prefix("/"), headers={"x-tenant": f"t{number}"})] for number in range(200)],
        [match(prefix("/"), headers={"x-tenant": "t7", "x-beta": "1"})],
        [match(prefix("/"), method="PUT")],
        [match(prefix("/"))],
    )
    assert made.match(asked(b"/", (b"x-tenant", b"t150"))).name == "150"
    assert made.match(asked(b"/", (b"x-tenant", b"t7"))).name == "7"
    assert made.match(asked(b"/", (b"x-tenant", b"t7"), (b"x-beta", b"1"))).name == "200"
    assert made.match(asked(b"/", (b"x-tenant", b"t7"), (b"x-beta", b"1"), method=b"PUT")).name == "201"
    assert made.match(asked(b"/", (b"x-tenant", b"unknown"))).name == "202"
    assert made.match(asked(b"/")).name == "202"


def test_many_expressions_are_asked_at_once():
    made = router(*[[match(regex(f"/svc{number}/v[12]/(?P<id>[0-9]+)"))] for number in range(500)])
    call = asked(b"/svc321/v2/9")
    assert made.match(call).name == "321"
    assert call.captures == {"id": "9"}
    assert made.match(asked(b"/svc321/v3/9")) is None


@examples(300)
@given(st.lists(st.lists(ROUTES, min_size=1, max_size=3), min_size=1, max_size=14), st.data())
def test_the_index_agrees_with_trying_everything(routes, data):
    made = router(*routes)
    path = data.draw(
        st.sampled_from([b"/", b"/a", b"/a/", b"/a/b", b"/ab", b"/a/b/c", b"/1", b"/a/1", b"/a/b/1", b"//a"])
    )
    pairs = data.draw(st.lists(st.sampled_from([(b"x-a", b"1"), (b"x-a", b"2"), (b"x-b", b"1")]), max_size=2))
    query = data.draw(st.sampled_from([b"", b"?q=1", b"?q=2&q=1", b"?p=1&q=1"]))
    method = data.draw(st.sampled_from([b"GET", b"PUT"]))
    found = made.match(asked(path + query, *pairs, method=method))
    candidates = []
    position = 0
    for number, matches in enumerate(routes):
        for one in matches:
            if one.holds(path, dict(reversed(pairs)), query, method):
                candidates.append((one.rank(), position, str(number)))
            position += 1
    assert (found.name if found else None) == (min(candidates)[2] if candidates else None)
