import pytest

from sidewinder_sidecar.filters.path import replacement
from sidewinder_sidecar.snapshot.filters import FullPath, PrefixReplacement, TemplatePath
from tests.support.calls import call

# path, matched prefix, replacement, result: the table of the Gateway API's HTTPPathModifier, and beyond
PREFIXES = [
    (b"/foo/bar", b"/foo", "/xyz", b"/xyz/bar"),
    (b"/foo/bar", b"/foo", "/xyz/", b"/xyz/bar"),
    (b"/foo/bar", b"/foo/", "/xyz", b"/xyz/bar"),
    (b"/foo/bar", b"/foo/", "/xyz/", b"/xyz/bar"),
    (b"/foo", b"/foo", "/xyz", b"/xyz"),
    (b"/foo/", b"/foo", "/xyz", b"/xyz/"),
    (b"/foo/bar", b"/foo", "", b"/bar"),
    (b"/foo/", b"/foo", "", b"/"),
    (b"/foo", b"/foo", "", b"/"),
    (b"/foo/", b"/foo", "/", b"/"),
    (b"/foo", b"/foo", "/", b"/"),
    (b"/foo/bar", b"/foo", "/", b"/bar"),
    (b"/", b"/", "/xyz", b"/xyz/"),
    (b"/bar", b"/", "/xyz", b"/xyz/bar"),
    (b"/bar", b"/", "/", b"/bar"),
    (b"/foo//bar", b"/foo", "/xyz", b"/xyz//bar"),
    (b"/foo/%2F", b"/foo", "/x y", b"/x%20y/%2F"),
    (b"/foo/b", b"/foo", "/{x}", b"/%7Bx%7D/b"),
    (b"/other", b"/foo", "/xyz", b"/other"),  # rewritten before
]


@pytest.mark.parametrize(("path", "prefix", "new", "wanted"), PREFIXES)
def test_prefix(path, prefix, new, wanted):
    assert replacement(PrefixReplacement(new), prefix)(call(path)) == wanted


@pytest.mark.parametrize(("value", "wanted"), [("/x", b"/x"), ("x", b"/x"), ("", b"/"), ("/a?b", b"/a%3Fb")])
def test_full(value, wanted):
    assert replacement(FullPath(value), b"/")(call(b"/a/b")) == wanted


def test_template():
    assert replacement(TemplatePath("/u/{id}"), b"/")(call(b"/a", captures={"id": "7"})) == b"/u/7"
