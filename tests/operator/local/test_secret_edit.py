"""A Secret edited in its file: what is understood is changed, the rest stays as it is, anything else is refused."""

from __future__ import annotations

import pytest

from sidewinder_operator.local.manifest import parse
from sidewinder_operator.local.secret_edit import Uneditable, edit, entries, find, new
from sidewinder_operator.problems import Reference

KEYS = Reference("Secret", "shop", "keys")

PLAIN = """\
# first
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {ports: [{name: http, port: 80}]}   # stays
---
# the keys
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: shop}
stringData:
  # of alice
  aaaaaaaaaa: '{"hash":"1"}'
  bbbbbbbbbb: "{}"   # of bob
--- # third
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: shop}
stringData: {aaaaaaaaaa: keep}
"""


def changed(text: str, **changes: str | None) -> str:
    return edit(parse("keys.yaml", text.encode()), KEYS, changes)


def says(text: str) -> dict[str, str]:
    secret = find(parse("keys.yaml", text.encode()), KEYS)
    assert secret is not None
    return entries(secret)


def test_an_entry_is_added_and_everything_else_stays() -> None:
    after = changed(PLAIN, cccccccccc='{"note":"it\'s"}')
    assert [line for line in after.splitlines() if line not in PLAIN.splitlines()] == [
        "  cccccccccc: '{\"note\":\"it''s\"}'"
    ]
    assert says(after)["cccccccccc"] == '{"note":"it\'s"}'
    assert len(after.splitlines()) == len(PLAIN.splitlines()) + 1


def test_an_entry_is_taken_out_with_its_line() -> None:
    after = changed(PLAIN, bbbbbbbbbb=None)
    assert [line for line in PLAIN.splitlines() if line not in after.splitlines()] == ['  bbbbbbbbbb: "{}"   # of bob']
    assert changed(after, bbbbbbbbbb=None) == after


def test_an_entry_is_replaced() -> None:
    assert says(changed(PLAIN, aaaaaaaaaa="new")) == {"aaaaaaaaaa": "new", "bbbbbbbbbb": "{}"}


def test_all_entries_can_go_and_come_back() -> None:
    empty = changed(PLAIN, aaaaaaaaaa=None, bbbbbbbbbb=None)
    assert says(empty) == {}
    assert says(changed(empty, cccccccccc="new")) == {"cccccccccc": "new"}


HEAD = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: shop}\n"
SHAPES = {
    "nothing yet": HEAD,
    "no line break at the end": HEAD.rstrip("\n"),
    "an empty mapping": HEAD + "stringData: {}\n",
    "null": HEAD + "stringData:\n",
    "in base64": HEAD + "data:\n  aaaaaaaaaa: eA==\n",
    "a block of text": HEAD + "stringData:\n  aaaaaaaaaa: |\n    {\n    }\n\n  bbbbbbbbbb: x\n",
    "deep indentation": HEAD + "stringData:\n        aaaaaaaaaa: x\n",
    "indented as a whole": "".join(f"  {line}\n" for line in (HEAD + "stringData:\n  a: x").splitlines()),
    "with a byte-order mark": "\ufeff" + HEAD + "stringData:\n  a: x\n",
    "with CRLF": (HEAD + "stringData:\n  aaaaaaaaaa: x\n").replace("\n", "\r\n"),
    "after others": "kind: Namespace\napiVersion: v1\nmetadata: {name: shop}\n---\n" + HEAD + "type: Opaque\n",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_however_it_is_written(text: str) -> None:
    before = says(text)
    after = changed(text, cccccccccc='{"hash":"2"}')
    assert says(after) == {**before, "cccccccccc": '{"hash":"2"}'}
    assert says(changed(after, cccccccccc=None)) == before
    if "aaaaaaaaaa" in before:
        assert "aaaaaaaaaa" not in says(changed(after, aaaaaaaaaa=None))


REFUSED = {
    "in braces": HEAD + "stringData: {aaaaaaaaaa: x}\n",
    "JSON": '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "shop"}}',
    "in a List": "apiVersion: v1\nkind: List\nitems:\n- " + HEAD.replace("\n", "\n  ").rstrip() + "\n",
    "by an alias": HEAD + "stringData: &a\n  aaaaaaaaaa: x\nannotations: *a\n",
    "broken": HEAD + "stringData: 1\n",
    "not there": HEAD.replace("keys", "elsewhere"),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    if text == REFUSED["by an alias"]:
        assert says(changed(text, cccccccccc="x"))["cccccccccc"] == "x"  # an alias elsewhere does no harm
        return
    with pytest.raises(Uneditable):
        changed(text, cccccccccc="x", aaaaaaaaaa=None)


def test_a_file_of_its_own() -> None:
    assert says(new(KEYS, {"aaaaaaaaaa": "it's"})) == {"aaaaaaaaaa": "it's"}
