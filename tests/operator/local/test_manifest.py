"""manifest: the documents of one file, the objects in them, and their places."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.local.manifest import MOST_TOLD, Manifest, parse
from sidewinder_operator.problems import Place, Reference
from tests.support.examples import examples

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 80}]}\n"


def parsed(text: str, name: str = "a.yaml") -> Manifest:
    """The manifest of a text."""
    return parse(name, text.encode())


def names(manifest: Manifest) -> list[str]:
    """The names of the good objects, in order."""
    return [entry.reference.name for entry in manifest.entries if entry.found is not None]


def told(manifest: Manifest) -> list[tuple[str, str]]:
    """Place and reason of every problem."""
    return [
        (f"{problem.place}:{problem.place and problem.place.column}", problem.reason) for problem in manifest.problems
    ]


def test_documents_are_divided_at_lines_of_three_dashes() -> None:
    text = "\n---\n".join(SERVICE % name for name in ("a", "b")) + "---   # more\n" + SERVICE % "c" + "---\r\n---\n\n"
    manifest = parsed(text)
    assert names(manifest) == ["a", "b", "c"]
    assert manifest.problems == []


@pytest.mark.parametrize("separator", ["--- {a: b}", "----", "---a", "--- |"])
def test_what_stands_behind_the_dashes_is_refused_as_kubectl_does(separator: str) -> None:
    manifest = parsed(SERVICE % "a" + "---\n" + SERVICE % "b" + separator + "\n" + "---\n" + SERVICE % "c")
    assert names(manifest) == ["a", "c"]
    (problem,) = manifest.problems
    assert problem.message == "nothing but a comment may stand behind `---`"
    assert problem.place == Place("a.yaml", 10, 4)


def test_every_object_knows_its_line() -> None:
    manifest = parsed("# first\n\n" + SERVICE % "a" + "---\n# second\n" + SERVICE % "b")
    assert [entry.place.line for entry in manifest.entries] == [3, 9]


def test_a_broken_document_does_not_stop_the_others() -> None:
    manifest = parsed(SERVICE % "a" + "---\nkind: [\n---\n" + SERVICE % "b" + "---\na: 1\na: 2\n---\n" + SERVICE % "c")
    assert names(manifest) == ["a", "b", "c"]
    assert told(manifest) == [("a.yaml:7:1", "Malformed"), ("a.yaml:14:1", "Malformed")]
    assert manifest.blind


def test_a_broken_document_that_says_whose_it_is_takes_only_that_one_out() -> None:
    manifest = parsed("apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec:\n\tports: []\n")
    assert not manifest.blind
    assert [entry.reference for entry in manifest.entries] == [Reference("Service", "shop", "a")]
    assert manifest.entries[0].found is None
    assert manifest.problems[0].reference == Reference("Service", "shop", "a")


def test_a_problem_has_the_line_and_column_of_its_field() -> None:
    manifest = parsed("---\n" + SERVICE % "a" + "---\n" + (SERVICE % "b").replace("80", "'80x'"))
    (problem,) = manifest.problems
    assert problem.field == "spec.ports[0].port"
    assert problem.place == Place("a.yaml", 10, 17)
    assert manifest.entries[1].raw["metadata"] == {"name": "b"}


@pytest.mark.parametrize("head", ["apiVersion: v1\nkind: List", "apiVersion: v1\nkind: ServiceList"])
def test_lists_are_their_items(head: str) -> None:
    item = "- {apiVersion: v1, kind: Service, metadata: {%s}}\n"
    items = item % "name: a" + item % "nam: b"
    manifest = parsed(f"{head}\nitems:\n{items}")
    assert names(manifest) == ["a"]
    (problem,) = manifest.problems
    assert problem.field == "metadata.name"
    assert problem.place == Place("a.yaml", 5, 35)


def test_items_of_a_typed_list_need_not_repeat_their_kind() -> None:
    assert names(parsed("apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: a}}]")) == ["a"]


def test_lists_of_lists_end() -> None:
    inner = "{apiVersion: v1, kind: Service, metadata: {name: a}}"
    for _ in range(20):
        inner = f"{{apiVersion: v1, kind: List, items: [{inner}]}}"
    assert names(parsed(inner)) == []
    assert parsed(inner).problems


def test_json_is_a_stream_of_objects() -> None:
    one = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    text = json.dumps(one, indent=1) + "\n" + json.dumps({**one, "metadata": {"name": "b", "nam": 7}})
    manifest = parsed(text, "a.json")
    assert names(manifest) == ["a", "b"]
    assert [entry.place.line for entry in manifest.entries] == [1, 8]


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ('{"a": 1,}', "a.json:1", "not JSON"),
        ('{"a": 1}\n{"b": ', "a.json:2", "not JSON"),
        ('{"a": 1,\n"a": 2}', "a.json:2", "`a` stands here twice"),
        ('{"a": NaN}', "a.json:1", "NaN"),
        ('{"a": ' + "[" * 100_000, "a.json:1", "nested"),
        ('{"a": "\\ud800"}', "a.json:1", "surrogate"),
    ],
)
def test_broken_json_is_told_with_its_line(text: str, place: str, why: str) -> None:
    manifest = parsed(text, "a.json")
    (problem,) = manifest.problems
    assert str(problem.place) == place
    assert why in problem.message
    assert manifest.blind


def test_yaml_in_braces_is_yaml() -> None:
    assert names(parsed("{apiVersion: v1, kind: Service, metadata: {name: a}} # flow\n")) == ["a"]


@pytest.mark.parametrize(
    ("raw", "reason", "why"),
    [
        (b"", "Empty", "nothing stands in this file"),
        (b"\n# only a comment\n---\n", "Empty", "nothing stands in this file"),
        (b"\xef\xbb\xbf", "Empty", "nothing stands in this file"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "Malformed", "there is a NUL in it"),
        (b"a: b\nc: \xff\xfe", "Malformed", "is not UTF-8 text"),
        (bytes(range(256)) * 100, "Malformed", "is not UTF-8 text"),
        (b"a: \x07", "Malformed", "not YAML"),
        ("a: b".encode("utf-16"), "Malformed", "is not UTF-8 text"),
    ],
)
def test_what_is_no_manifest(raw: bytes, reason: str, why: str) -> None:
    (problem,) = parse("a.yaml", raw).problems
    assert (problem.reason, problem.severity) == (reason, "Warning" if reason == "Empty" else "Error")
    assert why in problem.message


def test_a_byte_order_mark_is_passed_over() -> None:
    assert names(parse("a.yaml", b"\xef\xbb\xbf" + (SERVICE % "a").encode())) == ["a"]
    assert names(parse("a.json", b'\xef\xbb\xbf{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"}}')) == ["a"]


def test_problems_of_one_file_are_bounded() -> None:
    manifest = parsed("---\nkind: Nonsense\n" * 500)
    assert len(manifest.problems) == MOST_TOLD + 1
    assert manifest.problems[-1].message == "400 more problems in this file are not told"


def test_bombs_in_many_documents_are_bounded_together() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b]\n"
    began = time.process_time()
    manifest = parsed("---\n".join([bomb] * 20_000))
    assert time.process_time() - began < 10
    assert len(manifest.problems) == MOST_TOLD + 1
    assert (
        int(manifest.problems[-1].message.split()[0]) < 1000
    )  # three of every document, until the aliases are used up


PIECES = [
    b"---\n",
    b"kind: Service\n",
    b"apiVersion: v1\n",
    b"metadata: {name: a}\n",
    b"{",
    b"}",
    b'"a": ',
    b"- x\n",
    b"  ",
    b"\xff",
    b"&a ",
    b"*a ",
    b"<<: ",
    b"!!binary ",
    b"\t",
    b"\r\n",
    b"[",
    b"]",
    b"? ",
    b"| \n",
    b"\xef\xbb\xbf",
    b"...\n",
    b"%YAML 1.1\n",
]


@examples(300)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=20), st.sampled_from(["a.yaml", "a.json"]))
def test_any_bytes_are_read_or_told(pieces: list[bytes], name: str) -> None:
    manifest = parse(name, b"".join(pieces))
    assert manifest.entries or manifest.problems
    for problem in manifest.problems:
        assert problem.place is not None
        assert problem.message
