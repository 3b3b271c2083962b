import pytest

from sidewinder_sidecar.filters import redirect
from sidewinder_sidecar.snapshot.filters import FullPath, PrefixReplacement, Redirect, TemplatePath
from tests.support.calls import call

HOST = b"shop.example"
CASES = {
    "nothing set": (Redirect(), HOST, b"/a?b=1", b"http://shop.example/a?b=1"),
    "scheme gives the well-known port": (Redirect(scheme="https"), HOST + b":8080", b"/a", b"https://shop.example/a"),
    "scheme that stays too": (Redirect(scheme="http"), HOST + b":8080", b"/a", b"http://shop.example/a"),
    "the caller's port stays": (Redirect(path=FullPath("/n")), HOST + b":8080", b"/a", b"http://shop.example:8080/n"),
    "the well-known port is left out": (Redirect(), HOST + b":80", b"/", b"http://shop.example/"),
    "port": (Redirect(port=8443), HOST, b"/", b"http://shop.example:8443/"),
    "port 80 of http is left out": (Redirect(port=80), HOST + b":8080", b"/", b"http://shop.example/"),
    "port 443 of http is not": (Redirect(port=443), HOST, b"/", b"http://shop.example:443/"),
    "port 443 of https is left out": (Redirect(scheme="https", port=443), HOST, b"/", b"https://shop.example/"),
    "port 80 of https is not": (Redirect(scheme="https", port=80), HOST, b"/", b"https://shop.example:80/"),
    "hostname keeps the caller's port": (Redirect(hostname="n.example"), HOST + b":81", b"/", b"http://n.example:81/"),
    "hostname and scheme": (Redirect(hostname="n.example", scheme="https"), HOST + b":81", b"/", b"https://n.example/"),
    "IPv6": (Redirect(), b"[2001:db8::1]:8080", b"/", b"http://[2001:db8::1]:8080/"),
    "IPv6 without port": (Redirect(port=81), b"[2001:db8::1]", b"/", b"http://[2001:db8::1]:81/"),
    "path keeps the query": (Redirect(path=FullPath("/n")), HOST, b"/a?b=1", b"http://shop.example/n?b=1"),
    "prefix": (Redirect(path=PrefixReplacement("/n")), HOST, b"/old/x", b"http://shop.example/n/x"),
    "template": (Redirect(path=TemplatePath("/{id}")), HOST, b"/old/x", b"http://shop.example/7%0D%0Ax"),
    "no host is relative": (Redirect(), b"", b"//evil.example/a", b"/evil.example/a"),
    "OPTIONS *": (Redirect(scheme="https"), HOST, b"*", b"https://shop.example/"),
}


@pytest.mark.parametrize(("spec", "authority", "target", "wanted"), CASES.values(), ids=CASES)
def test_location(spec, authority, target, wanted):
    reply = redirect.build(spec, b"/old")(call(target, authority=authority, captures={"id": "7\r\nx"}))
    assert reply.fields == ((b"location", wanted),)
    assert (reply.status, reply.body, reply.error) == (302, b"", "")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_status(status):
    assert redirect.build(Redirect(status=status), b"/")(call()).status == status


def test_the_scheme_of_a_tls_caller_stays():
    asked = call(b"/a", authority=b"shop.example:443")
    asked.request.scheme = b"https"
    assert redirect.build(Redirect(), b"/")(asked).fields[0][1] == b"https://shop.example/a"
