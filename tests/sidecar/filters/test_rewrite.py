import pytest

from sidewinder_sidecar.filters import rewrite
from sidewinder_sidecar.snapshot.filters import FullPath, PrefixReplacement, Rewrite, TemplatePath
from tests.support.calls import call

CASES = {
    "nothing": (Rewrite(), b"/a?b", b"reviews:9080", b"/a", b"/a?b"),
    "hostname": (Rewrite(hostname="n.example"), b"/a", b"n.example", b"/a", b"/a"),
    "full": (Rewrite(path=FullPath("/n")), b"/a/b?c=1&d", b"reviews:9080", b"/n", b"/n?c=1&d"),
    "prefix": (Rewrite(path=PrefixReplacement("/n")), b"/old/b?c", b"reviews:9080", b"/n/b", b"/n/b?c"),
    "template": (Rewrite(path=TemplatePath("/u/{id}")), b"/old?c", b"reviews:9080", b"/u/7%3Fx", b"/u/7%3Fx?c"),
    "an empty query stays": (Rewrite(path=FullPath("/n")), b"/a?", b"reviews:9080", b"/n", b"/n?"),
    "no path to replace": (Rewrite(path=FullPath("/n")), b"*", b"reviews:9080", b"*", b"*"),
}


@pytest.mark.parametrize(("spec", "target", "authority", "path", "wanted"), CASES.values(), ids=CASES)
def test_rewrite(spec, target, authority, path, wanted):
    asked = call(target, captures={"id": "7?x"})
    assert rewrite.build(spec, b"/old")(asked) is None
    request = asked.request
    assert request.fields.get(b"host") == (authority if spec.hostname else None)
    assert (request.authority, request.path, request.target, request.received) == (authority, path, wanted, target)
