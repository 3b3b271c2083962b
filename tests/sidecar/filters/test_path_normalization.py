"""No path means one thing to a rule and another to the server behind it."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters import path_normalization
from sidewinder_sidecar.http1 import encode
from sidewinder_sidecar.http1.lines import Seen
from sidewinder_sidecar.http1.request_head import parse
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.authorization import AccessRule, PathCondition, ToSpec
from tests.support.access import authorizer
from tests.support.calls import call
from tests.support.smuggled import CARELESS, DOTS, PATHS, SERVERS, SLASHES, WRITINGS

STRICT = path_normalization.build("Strict")
MERGE = path_normalization.build("Merge")
MODES = {"Strict": STRICT, "Merge": MERGE}


def judged(apply, target):
    """The path that is judged, None for a refusal; what goes out is held against it."""
    asked = call(target)
    reply = apply(asked)
    if reply is not None:
        assert (reply.status, reply.error) == (400, "bad_path")
        assert reply.detail.startswith("the path has ")
        return None
    request = asked.request
    line = encode.request_head(request).split(b"\r\n")[0]
    query = target.partition(b"?")[1:]
    assert line == b"GET %b%b HTTP/1.1" % (request.path, b"".join(query))
    assert (request.target, request.received) == (request.path + b"".join(query), target)
    return request.path


def test_there_are_enough_of_them():
    assert len(set(PATHS.values())) >= 300


@pytest.mark.parametrize("mode", MODES)
def test_a_smuggled_path_is_refused_or_means_to_every_server_what_was_judged(mode):
    servers = SERVERS if mode == "Merge" else SERVERS | CARELESS
    for name, target in PATHS.items():
        path = judged(MODES[mode], target + b"?q=%2e%2E//;")
        if path is None:
            continue
        assert judged(MODES[mode], path) == path, name
        assert {one: read(path) for one, read in servers.items()} == dict.fromkeys(servers, unquote_to_bytes(path)), (
            name
        )


PIECES = st.sampled_from([*SLASHES.values(), *DOTS.values(), *WRITINGS.values(), "/", "%", "25", "2e", "5C", "a", "é"])


@given(st.lists(PIECES, max_size=12).map(lambda pieces: ("/" + "".join(pieces)).encode("latin-1").replace(b"?", b"")))
def test_and_so_is_anything_made_of_them(target):
    for apply in MODES.values():
        if (path := judged(apply, target)) is not None:
            assert judged(apply, path) == path
            assert {read(path) for read in SERVERS.values()} == {unquote_to_bytes(path)}


@given(st.lists(PIECES, max_size=12).map(lambda pieces: ("/" + "".join(pieces)).encode("latin-1").replace(b"?", b"")))
def test_what_strict_takes_merge_takes_the_same(target):
    if (path := judged(STRICT, target)) is not None:
        assert judged(MERGE, target) == path


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "path",
    [b"/", b"/a", b"/a/", b"/a/b.c/~d-e_f", b"/.well-known/x", b"/..a/...", b"/a:1@b!$&'()*+,=", b"/caf%C3%A9",
     b"/100%25", b"/a%20b", b"/%7Bid%7D"],
)  # fmt: skip
def test_an_ordinary_path_stays_as_it_is(path, mode):
    assert judged(MODES[mode], path) == path


@pytest.mark.parametrize("path", [b"/what%3F", b"/c%23"])
def test_where_a_careless_server_would_cut_only_strict_minds(path):
    assert judged(MERGE, path) == path
    assert judged(STRICT, path) is None


SPELLED = {
    "lower-case digits": (b"/caf%c3%a9", b"/caf%C3%A9"),
    "encodeURIComponent": (b"/u/a%40b.com/x%3ay%2Cz", b"/u/a@b.com/x:y,z"),
    "a browser's braces": (b'/{a}[b]|^`"<>', b"/%7Ba%7D%5Bb%5D%7C%5E%60%22%3C%3E"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("path", "wanted"), SPELLED.values(), ids=SPELLED)
def test_what_libraries_write_differently_is_written_one_way(path, wanted, mode):
    assert judged(MODES[mode], path) == wanted


MERGED = {
    "dots": (b"/a/b/../c/./d", b"/a/c/d"),
    "to the root": (b"/a/..", b"/"),
    "above the root": (b"/../../a", b"/a"),
    "a folder": (b"/a/b/.", b"/a/b/"),
    "slashes": (b"//a///b//", b"/a/b/"),
    "letters": (b"/%61%2D%7e", b"/a-~"),
    "encoded dots": (b"/a/%2e%2E/b", b"/b"),
}


@pytest.mark.parametrize(("path", "wanted"), MERGED.values(), ids=MERGED)
def test_merge_understands_what_strict_refuses(path, wanted):
    assert judged(MERGE, path) == wanted
    assert judged(STRICT, path) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("method", "target"), [(b"OPTIONS", b"*"), (b"CONNECT", b"[::1]:80")], ids=["the whole server", "a tunnel"]
)
def test_what_has_no_path_is_left_alone(method, target, mode):
    asked = call(target, method=method)
    asked.request.upgrade = b"connect" if method == b"CONNECT" else b""
    assert MODES[mode](asked) is None
    assert (asked.request.target, asked.request.path) == (target, target)


@pytest.mark.parametrize("apply", MODES.values(), ids=MODES)
def test_a_whole_uri_is_judged_by_its_path_and_the_head_is_otherwise_as_it_came(apply):
    head = b"GET http://shop.example/%7bx%7d?q=%7b HTTP/1.1\r\nHost: shop.example\r\nX-Odd:  kept\r\n\r\n"
    asked = call()
    asked.request, _ = parse(head, Limits(), Seen())
    assert apply(asked) is None
    assert asked.request.received == b"http://shop.example/%7bx%7d?q=%7b"
    sent = encode.request_head(asked.request)
    assert sent.startswith(b"GET /%7Bx%7D?q=%7b HTTP/1.1\r\nHost: shop.example\r\nX-Odd:")


def test_disabled_is_no_filter():
    assert path_normalization.build("Disabled") is None


KEYS = AccessRule(name="keys", action="Deny", targets=(ToSpec(paths=(PathCondition("/admin/keys"),)),))
DENYING = authorizer(KEYS, default_action="Allow")


@pytest.mark.parametrize("mode", MODES)
def test_no_server_opens_what_a_rule_denies(mode):
    """With the engine that judges: everybody may everything but /admin/keys."""
    passed = 0
    for name, target in PATHS.items():
        asked = call(target, decision="")
        if MODES[mode](asked) is None and DENYING.apply(asked) is None:
            passed += 1
            opened = {read(asked.request.target) for read in SERVERS.values()}
            assert not any(path == b"/admin/keys" or path.startswith(b"/admin/keys/") for path in opened), name
    assert 0 < passed < len(PATHS)


def test_without_normalisation_a_server_opens_it():
    """What the filter is for."""
    passed = [target for target in PATHS.values() if DENYING.apply(call(target, decision="")) is None]
    opened = {read(target) for target in passed for read in SERVERS.values()}
    assert b"/admin/keys" in opened
