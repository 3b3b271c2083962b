"""The local loader against kubectl itself: the same files give the same objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidewinder_operator.local.document import Budget, compose
from sidewinder_operator.local.manifest import parse
from tests.operator.local.test_scalars import RULES

pytestmark = pytest.mark.cluster

HEAD = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: a, labels: {x: z}}\n"
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: %s, labels: {x: z}}\n"


def kubectl_reads(cluster: Any, text: str, folder: Path, name: str = "a.yaml") -> list[dict[str, Any]]:
    """The objects that kubectl sees in a file; it needs no server for that."""
    file = folder / name
    file.write_text(text)
    answer = cluster.kubectl("label", "--local", "--overwrite", "-f", str(file), "-o", "json", "x=y")
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(answer):
        value, end = decoder.raw_decode(answer, position)
        found.append(value)
        position = end + len(answer[end:]) - len(answer[end:].lstrip())
    return found


def test_plain_scalars_mean_the_same(cluster: Any, tmp_path: Path) -> None:
    plain = [text for text, value in RULES if value == value and value not in (float("inf"), float("-inf"))]
    plain = [
        text for text in plain if text not in ("", "<<", "!", "-")
    ]  # not a scalar in every place, or read as a merge
    text = HEAD + "values:\n" + "".join(f"- {scalar}\n" for scalar in plain)
    (theirs,) = kubectl_reads(cluster, text, tmp_path)
    ours = compose(text, 0, Budget())["values"]
    assert len(ours) == len(theirs["values"]) == len(plain)
    wrong = {
        scalar: (our, their)
        for scalar, our, their in zip(plain, ours, theirs["values"], strict=True)
        # kubectl's own objects know no whole number above 64 bits
        if our != their and not (isinstance(our, int) and float(our) == float(their))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "text",
    [
        "on: 1\n8080: b\n2.5: c\nn: d\n'y': e\n~x: f\n",
        "a: &a {k: [1, 2], l: 2}\nb: *a\nc: {<<: *a, l: 3}\nd: {<<: [*a, {m: 4}]}\n",
        "a: |\n  x\n  y\nb: >\n  x\n  y\nc: |-\n  z\nd: 'it''s'\ne: \"\\u00e9\\n\"\n",
        "a: !!str 7\nb: !!int '7'\nc: !!float 7\nd: !!binary dGV4dA==\ne: !!bool yes\nf: !!null ''\n",
        "a: {}\nb: []\nc:\nd: ''\n",
    ],
)
def test_documents_mean_the_same(cluster: Any, tmp_path: Path, text: str) -> None:
    (theirs,) = kubectl_reads(cluster, HEAD + text, tmp_path)
    ours = compose(HEAD + text, 0, Budget())
    assert {**ours, "metadata": None} == {**theirs, "metadata": None}


@pytest.mark.parametrize(
    "text",
    [
        "---\n".join(SERVICE % name for name in "abc"),
        (SERVICE % "a") + "---  # the next\n" + (SERVICE % "b") + "---\r\n\n---\n# nothing\n---\n" + (SERVICE % "c"),
        "---\n" + SERVICE % "a" + "---\n",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a, labels: {x: z}}}\n",
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": {"x": "z"}}}\n'
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "labels": {"x": "z"}}}',
    ],
)
def test_files_are_divided_the_same(cluster: Any, tmp_path: Path, text: str) -> None:
    theirs = [found["metadata"]["name"] for found in kubectl_reads(cluster, text, tmp_path)]
    manifest = parse("a.yaml", text.encode())
    assert manifest.problems == []
    assert [entry.reference.name for entry in manifest.entries] == theirs


@pytest.mark.parametrize("separator", ["--- {a: b}", "----", "---a"])
def test_what_kubectl_refuses_between_documents_is_told(cluster: Any, tmp_path: Path, separator: str) -> None:
    text = (SERVICE % "a") + separator + "\n" + (SERVICE % "b")
    with pytest.raises(Exception, match="invalid Yaml document separator"):
        kubectl_reads(cluster, text, tmp_path)
    (problem,) = parse("a.yaml", text.encode()).problems
    assert problem.message == "nothing but a comment may stand behind `---`"
