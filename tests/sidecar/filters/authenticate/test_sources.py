"""Where credentials are found, how often, and how they are taken out again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters.authenticate.sources import finder, stripper
from sidewinder_sidecar.snapshot.authentication import Source
from tests.support.calls import call, rows

BEARER = Source(prefix="Bearer ")
COOKIE = Source(type="Cookie", name="token")
QUERY = Source(type="Query", name="access_token")

HEADERS = {
    "as it should be": (BEARER, b"Bearer abc", (b"abc",)),
    "any case": (BEARER, b"bEARER abc", (b"abc",)),
    "more blanks": (BEARER, b"Bearer   abc", (b"abc",)),
    "the scheme alone": (BEARER, b"Bearer", (b"",)),
    "a longer scheme": (BEARER, b"Bearers abc", ()),
    "another scheme": (BEARER, b"Basic abc", ()),
    "no scheme": (BEARER, b"abc", ()),
    "a prefix that is no scheme": (Source(prefix="key="), b"KEY=abc", (b"abc",)),
    "no prefix": (Source(), b"Bearer abc", (b"Bearer abc",)),
}


@pytest.mark.parametrize(("source", "value", "found"), HEADERS.values(), ids=HEADERS)
def test_in_a_header(source: Source, value: bytes, found: tuple[bytes, ...]) -> None:
    assert finder((source,))(call(b"/", (b"Authorization", value)).request) == found


def test_two_fields_are_two_whatever_they_say() -> None:
    asked = call(b"/", (b"Authorization", b"Basic x"), (b"authorization", b"Bearer y"))
    assert len(finder((BEARER,))(asked.request)) == 2


QUERIES = {
    "once": (b"/?a=1&access_token=abc", (b"abc",)),
    "encoded": (b"/?access%5Ftoken=a%2Bb%20c", (b"a+b c",)),
    "a plus is a blank": (b"/?access_token=a+b", (b"a b",)),
    "twice": (b"/?access_token=1&access_token=2", (b"1", b"2")),
    "empty": (b"/?access_token", (b"",)),
    "not there": (b"/?token=1", ()),
    "no query": (b"/access_token=1", ()),
    "another case": (b"/?Access_Token=1", ()),
}


@pytest.mark.parametrize(("target", "found"), QUERIES.values(), ids=QUERIES)
def test_in_a_query(target: bytes, found: tuple[bytes, ...]) -> None:
    assert finder((QUERY,))(call(target).request) == found


COOKIES = {
    "once": ((b"a=1; token=abc; b=2",), (b"abc",)),
    "quoted": ((b'token="abc"',), (b"abc",)),
    "in several fields": ((b"a=1", b"token=abc"), (b"abc",)),
    "twice": ((b"token=1; token=2",), (b"1", b"2")),
    "with an equals sign": ((b"token=a=b==",), (b"a=b==",)),
    "not there": ((b"xtoken=1; Token=2",), ()),
}


@pytest.mark.parametrize(("values", "found"), COOKIES.values(), ids=COOKIES)
def test_in_a_cookie(values: tuple[bytes, ...], found: tuple[bytes, ...]) -> None:
    assert finder((COOKIE,))(call(b"/", *((b"Cookie", value) for value in values)).request) == found


def test_all_places_count() -> None:
    asked = call(b"/?access_token=1", (b"Authorization", b"Bearer 2"), (b"Cookie", b"token=3"))
    assert finder((BEARER, QUERY, COOKIE))(asked.request) == (b"2", b"1", b"3")


def test_what_is_stripped_is_gone_and_the_rest_stays() -> None:
    asked = call(
        b"/a?x=1&access%5ftoken=2&y=%20",
        (b"Authorization", b"Bearer 2"),
        (b"Cookie", b"a=1; token=3;b=2"),
        (b"Accept", b"*/*"),
    )
    stripper((BEARER, QUERY, COOKIE))(asked.request)
    assert (asked.request.target, asked.request.query) == (b"/a?x=1&y=%20", b"x=1&y=%20")
    assert rows(asked.request.fields) == [(b"Accept", b"*/*"), (b"cookie", b"a=1; b=2")]


def test_a_query_that_was_only_the_credential_goes_whole() -> None:
    asked = call(b"/a?access_token=2", (b"Cookie", b"token=3"), (b"Authorization", b"Basic x"))
    stripper((BEARER, QUERY, COOKIE))(asked.request)
    assert asked.request.target == b"/a"
    assert rows(asked.request.fields) == [(b"Authorization", b"Basic x")]  # it was no credential of these


def test_a_source_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        finder((Source(name=""),))


NOISE = st.text("ab=&;%25 +token_\"'", max_size=40).map(str.encode)


@given(NOISE, NOISE)
def test_what_is_stripped_is_found_no_more_and_nothing_else_is_gone(query: bytes, cookie: bytes) -> None:
    sources = (Source(type="Query", name="token"), Source(type="Cookie", name="token"))
    asked = call(b"/?" + query, (b"Cookie", cookie))
    others = (Source(type="Query", name="a"), Source(type="Cookie", name="a"))
    before = finder(others)(asked.request)
    stripper(sources)(asked.request)
    assert finder(sources)(asked.request) == ()
    assert finder(others)(asked.request) == before
    assert asked.request.target.partition(b"?")[2] == asked.request.query
