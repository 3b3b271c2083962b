import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters import template

PATHS = {
    "plain": ("/v2/{id}", {"id": "7"}, b"/v2/7"),
    "two": ("/{a}/{b}", {"a": "x", "b": "y"}, b"/x/y"),
    "twice": ("/{a}/{a}", {"a": "x"}, b"/x/x"),
    "slash stays": ("/v2{rest}", {"rest": "/a/b"}, b"/v2/a/b"),
    "escape stays": ("/{a}", {"a": "a%2Fb"}, b"/a%2Fb"),
    "lone percent": ("/{a}", {"a": "100%"}, b"/100%25"),
    "query cannot be added": ("/{a}", {"a": "x?admin=1#f"}, b"/x%3Fadmin=1%23f"),
    "no second line": ("/{a}", {"a": "x\r\nx-evil: 1"}, b"/x%0D%0Ax-evil:%201"),
    "not ascii": ("/{a}", {"a": "é"}, b"/%C3%A9"),
    "lost bytes": ("/{a}", {"a": "\udcff"}, b"/%FF"),
    "no match": ("/x/{a}", {"a": None}, b"/x/"),
    "no captures": ("/x/{a}", None, b"/x/"),
    "slash is made": ("{a}", {"a": "x"}, b"/x"),
    "empty": ("{a}", {"a": ""}, b"/"),
    "braces": ("/{{{a}}}", {"a": "x"}, b"/%7Bx%7D"),
    "literal is made safe": ("/a b?c", {}, b"/a%20b%3Fc"),
}


@pytest.mark.parametrize(("text", "captures", "wanted"), PATHS.values(), ids=PATHS)
def test_path(text, captures, wanted):
    assert template.path(text)(captures) == wanted


VALUES = {
    "plain": ("id={id}; v", {"id": "7"}, b"id=7; v"),
    "no second header": ("{a}", {"a": "x\r\nx-evil: 1"}, b"x%0D%0Ax-evil: 1"),
    "no NUL": ("{a}", {"a": "\0"}, b"%00"),
    "blanks at the ends": ("{a}", {"a": " x "}, b"x"),
    "tab": ("{a}b", {"a": "\t\t"}, b"b"),
}


@pytest.mark.parametrize(("text", "captures", "wanted"), VALUES.values(), ids=VALUES)
def test_value(text, captures, wanted):
    assert template.value(text)(captures) == wanted


@pytest.mark.parametrize("text", ["/{", "/}", "/{a", "/{}", "/{1a}", "/{a-b}", "/{a}}"])
def test_a_brace_without_its_partner_is_refused(text):
    with pytest.raises(ValueError, match="or it twice"):
        template.path(text)


def test_names():
    assert template.names("/{a}/{{b}}/{c}") == ("a", "c")


@given(st.text(), st.text())
def test_nothing_breaks_out(literal, capture):
    text = literal.replace("{", "{{").replace("}", "}}") + "{x}"
    path = template.path(text)({"x": capture})
    assert re.fullmatch(rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*", path)
    assert re.fullmatch(rb"[\t\x20-\x7e]*", template.value(text)({"x": capture}))
