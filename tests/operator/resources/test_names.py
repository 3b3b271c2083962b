"""names: what may be a name, a header, a path, a template; the patterns are linear and end where the text ends."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest
import re2

from sidewinder_operator.resources import names

GOOD: list[tuple[Any, str]] = [
    (names.Namespace, "bookinfo"),
    (names.ObjectName, "a.b-c.d"),
    (names.Hostname, "*.shop.example"),
    (names.PreciseHostname, "shop.example"),
    (names.HeaderName, "X-Request_ID"),
    (names.HeaderValue, "a b\tc"),
    (names.FullPath, "/"),
    (names.FullPath, "/a%20b/~c;d=1,2"),
    (names.PrefixPath, ""),
    (names.PathTemplate, "/ratings/{id}"),
    (names.PathTemplate, "/{a}{b}/c"),
    (names.HeaderTemplate, "v{version} | {id}"),
    (names.LabelName, "app.kubernetes.io/name"),
    (names.LabelValue, ""),
    (names.LabelValue, "v2_a.b"),
]
BAD: list[tuple[Any, str]] = [
    (names.Namespace, "Bookinfo"),
    (names.Namespace, "a.b"),
    (names.Namespace, "a" * 64),
    (names.ObjectName, "-a"),
    (names.Hostname, "*"),
    (names.Hostname, "a.*.b"),
    (names.PreciseHostname, "*.a"),
    (names.HeaderName, "x request"),
    (names.HeaderName, "x:"),
    (names.HeaderValue, " a"),
    (names.HeaderValue, "a\r\nb: c"),
    (names.HeaderValue, "ä"),
    (names.FullPath, "a"),
    (names.FullPath, "/a?b"),
    (names.FullPath, "/a#b"),
    (names.FullPath, "/a\\b"),
    (names.PathTemplate, "{id}"),
    (names.PathTemplate, "/{id"),
    (names.PathTemplate, "/}"),
    (names.PathTemplate, "/{1d}"),
    (names.HeaderTemplate, "{}"),
    (names.HeaderTemplate, "a{b c}"),
    (names.LabelName, "a/b/c"),
    (names.LabelValue, "-"),
]


@pytest.mark.parametrize(("kind", "text"), GOOD, ids=[text for _, text in GOOD])
def test_good(kind: Any, text: str) -> None:
    assert msgspec.convert(text, kind) == text


@pytest.mark.parametrize(("kind", "text"), BAD, ids=[repr(text) for _, text in BAD])
def test_bad(kind: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, kind)


@pytest.mark.parametrize(("kind", "text"), GOOD, ids=[text for _, text in GOOD])
def test_no_name_ends_its_line(kind: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text + "\n", kind)


KINDS = [
    getattr(names, name) for name in dir(names) if name[0].isupper() and hasattr(getattr(names, name), "__metadata__")
]
PATTERNS = sorted({kind.__metadata__[0].pattern for kind in KINDS if kind.__metadata__[0].pattern})


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_the_same_in_re2_and_are_quick(pattern: str) -> None:
    compiled = re2.compile(pattern.replace(r"\Z", "$"))
    for _, text in (*GOOD, *BAD):
        assert bool(compiled.search(text)) == bool(re.search(pattern, text))
    began = time.process_time()
    for text in ("a" * 50_000, "/" * 50_000, "a " * 25_000 + "\0", "{a" * 25_000, "a-" * 25_000, "a." * 25_000):
        re.search(pattern, text[:4096])
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("192.0.2.7", True),
        ("2001:db8::7", True),
        ("192.0.2.300", False),
        ("192.0.2.07", False),
        ("fe80::1%eth0", False),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.0/24", False),
        ("a.example", False),
        ("", False),
    ],
)
def test_addresses(text: str, right: bool) -> None:
    assert names.is_address(text) is right
