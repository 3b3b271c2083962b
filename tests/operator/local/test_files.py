"""files: folders and files become a Cluster; what is broken takes only itself out, and is told with its place."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from sidewinder_operator.local import files
from sidewinder_operator.local.files import Manifests, load
from sidewinder_operator.problems import Place, Problem, Reference
from sidewinder_operator.resources import Cluster
from tests.support.examples import share

ROUTE = """\
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: %s, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: reviews}]
  rules:
  - name: all
    backendRefs: [{name: reviews-v1, port: 9080}]
"""


def route(name: str = "reviews") -> str:
    """A good route."""
    return ROUTE % name


def only(problems: list[Problem]) -> Problem:
    """The one problem."""
    (problem,) = problems
    return problem


def names(cluster: Cluster) -> list[str]:
    """The routes that are good."""
    return [name for _, name in cluster.routes]


def test_a_folder_is_its_manifests_and_nothing_below(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(route("a"))
    (tmp_path / "b.yml").write_text(route("b"))
    (tmp_path / "c.json").write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}')
    (tmp_path / "readme.md").write_text(": no : yaml :")
    (tmp_path / ".#a.yaml").symlink_to("nobody@nowhere")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "d.yaml").write_text(route("d"))
    (tmp_path / "folder.yaml").mkdir()
    cluster, problems = load([tmp_path])
    assert names(cluster) == ["a", "b"]
    assert list(cluster.namespaces) == [("", "shop")]
    assert problems == []


def test_a_named_file_may_have_any_name_and_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "routes.txt"
    file.write_text(route("a"))
    (tmp_path / "link.yaml").symlink_to(file)
    cluster, problems = load([file, str(file), tmp_path])
    assert names(cluster) == ["a"]
    assert problems == []


def test_the_namespace_is_default(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    assert list(load([tmp_path])[0].configs) == [("default", "a")]


def test_a_broken_object_takes_only_itself_out_and_stays_known(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(route("a") + "---\n" + route("b").replace("9080", "ninety"))
    manifests = Manifests([tmp_path])
    cluster, problems = manifests.load()
    assert names(cluster) == ["a"]
    assert cluster.broken == {Reference("ApiRoute", "shop", "b")}
    problem = only(problems)
    assert problem.place == Place(str(tmp_path / "a.yaml"), 17, 38)
    assert problem.field == "spec.rules[0].backendRefs[0].port"
    assert manifests.wrecks()[Reference("ApiRoute", "shop", "b")]["spec"]["rules"][0]["name"] == "all"


def test_an_object_that_stands_twice_is_refused_naming_both_places(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(route("a"))
    second.write_text(route("b") + "---\n" + route("a"))
    cluster, problems = load([tmp_path])
    assert names(cluster) == ["b"]
    assert cluster.broken == {Reference("ApiRoute", "shop", "a")}
    assert [(str(problem.place), problem.reason) for problem in problems] == [
        (f"{first}:1", "Duplicate"),
        (f"{second}:10", "Duplicate"),
    ]
    assert f"also in {second}:10" in problems[0].message
    assert f"also in {first}:1" in problems[1].message


def test_kinds_of_one_name_are_different_objects(tmp_path: Path) -> None:
    meta = "metadata: {name: a}\n"
    texts = [f"apiVersion: v1\nkind: {kind}\n{meta}" for kind in ("Service", "Secret", "ConfigMap")]
    (tmp_path / "a.yaml").write_text("---\n".join(texts))
    cluster, problems = load([tmp_path])
    assert (len(cluster.services), len(cluster.secrets), len(cluster.configs), problems) == (1, 1, 1, [])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: os.mkfifo(path), "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, make: object, why: str) -> None:
    assert callable(make)
    make(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text(route("b"))
    cluster, problems = load([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert names(cluster) == ["b"]
    problem = only(problems)
    assert problem.reason == "Unreadable"
    assert why in problem.message


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    problem = only(load([tmp_path])[1])
    assert (problem.reason, problem.severity) == ("Empty", "Warning")
    assert problem.message == "no *.yaml, *.yml, *.json in this folder"


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (files.LARGEST_FILE, files.LARGEST_SUM) == (16 << 20, 64 << 20)
    monkeypatch.setattr(files, "LARGEST_FILE", 1 << 20)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(route(name) + "#" * (files.LARGEST_FILE - 1000))
    (tmp_path / "d.yaml").write_text(route("d") + "#" * files.LARGEST_FILE)
    monkeypatch.setattr(files, "LARGEST_SUM", 2 * files.LARGEST_FILE)
    cluster, problems = load([tmp_path])
    assert names(cluster) == ["a", "b"]
    assert ["than 1 MiB: divide it" in problem.message for problem in problems] == [False, True]
    assert "all files together" in problems[0].message


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 2)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(route(name))
    cluster, problems = load([tmp_path])
    assert names(cluster) == ["a", "b"]
    assert "3 files are too many" in only(problems).message


def test_what_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(route(name))
    manifests = Manifests([tmp_path])
    first, _ = manifests.load()
    read: list[str] = []
    parse = files.parse
    monkeypatch.setattr(files, "parse", lambda name, raw: read.append(name) or parse(name, raw))
    (tmp_path / "b.yaml").write_text(route("c"))
    second, _ = manifests.load()
    assert read == [str(tmp_path / "b.yaml")]
    assert names(second) == ["a", "c"]
    assert first.routes["shop", "a"] is second.routes["shop", "a"]


def test_a_deleted_object_is_gone_and_an_unreadable_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(route("a") + "---\n" + route("b"))
    manifests = Manifests([tmp_path])
    manifests.load()
    a, b = Reference("ApiRoute", "shop", "a"), Reference("ApiRoute", "shop", "b")

    file.write_text(route("a") + "---\nspec: [\n")  # half saved: nobody can tell what the second one was
    cluster, _ = manifests.load()
    assert (names(cluster), cluster.broken) == (["a"], {b})
    cluster, _ = manifests.load()
    assert cluster.broken == {b}

    file.write_bytes(b"\x00")
    cluster, _ = manifests.load()
    assert (names(cluster), cluster.broken) == ([], {a, b})

    file.write_text(route("a"))
    cluster, problems = manifests.load()
    assert (names(cluster), cluster.broken, problems) == (["a"], frozenset(), [])

    file.unlink()
    cluster, _ = manifests.load()
    assert (names(cluster), cluster.broken) == ([], frozenset())


def test_a_named_path_that_vanishes_deletes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(route("a"))
    manifests = Manifests([folder])
    manifests.load()
    folder.rename(tmp_path / "elsewhere")
    cluster, problems = manifests.load()
    assert cluster.broken == {Reference("ApiRoute", "shop", "a")}
    assert only(problems).reason == "Unreadable"
    (tmp_path / "elsewhere").rename(folder)
    assert names(manifests.load()[0]) == ["a"]


def test_problems_of_compile_get_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(route("a"))
    manifests = Manifests([tmp_path])
    cluster, _ = manifests.load()
    reference = cluster.routes["shop", "a"].reference
    field = "spec.parentRefs[0].name"
    made = Problem(reference=reference, field=field, reason="NotFound", message="there is no Service reviews")
    elsewhere = Problem(reference=Reference("Service", "shop", "x"), field="", reason="NotFound", message="nowhere")
    assert manifests.place(reference, field) == Place(str(tmp_path / "a.yaml"), 5, 32)
    assert manifests.place(reference) == Place(str(tmp_path / "a.yaml"), 1, 1)
    assert manifests.place(elsewhere.reference) is None
    placed = manifests.placed([made, elsewhere])
    assert [problem.place for problem in placed] == [Place(str(tmp_path / "a.yaml"), 5, 32), None]


def test_problems_of_a_long_list_are_placed_in_one_pass(tmp_path: Path) -> None:
    item = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s%d", "namespace": "shop"}}'
    items = ",\n".join(item % number for number in range(3000))
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: List\nitems: [\n" + items + "]")
    manifests = Manifests([tmp_path])
    cluster, _ = manifests.load()
    began = time.process_time()
    problems = [
        Problem(reference=service.reference, field="metadata.name", reason="Odd", message="")
        for service in cluster.services.values()
    ]
    lines = {problem.reference.name: problem.place.line for problem in manifests.placed(problems) if problem.place}
    assert lines == {f"s{number}": number + 4 for number in range(3000)}
    assert time.process_time() - began < 5


def test_folders_to_watch(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text(route())
    assert Manifests([tmp_path, tmp_path / "sub" / "a.yaml"]).watched() == [tmp_path, tmp_path / "sub"]


def test_loading_is_deterministic(tmp_path: Path) -> None:
    for name in ("z", "a", "m"):
        (tmp_path / f"{name}.yaml").write_text(route(name) + "---\nkind: Nonsense\n---\n" + route(f"{name}2"))
    assert load([tmp_path]) == load([tmp_path])
    assert names(load([tmp_path])[0]) == ["a", "a2", "m", "m2", "z", "z2"]
    places = [problem.place.file for problem in load([tmp_path])[1] if problem.place]
    assert places == [str(tmp_path / f"{name}.yaml") for name in ("a", "m", "z")]


MEGABYTES = share(10)  # two in the quick loop


def test_a_thousand_routes_to_the_megabyte_load_in_seconds(tmp_path: Path) -> None:
    padding = "".join(f"  # {'x' * 100} {line}\n" for line in range(8))
    text = "---\n".join(route(f"r{number}") + padding for number in range(1000 * MEGABYTES))
    assert len(text) > MEGABYTES * 1_000_000
    (tmp_path / "a.yaml").write_text(text)
    began = time.process_time()
    cluster, problems = load([tmp_path])
    assert time.process_time() - began < 4 * MEGABYTES  # a twentieth of it on the machine this was written on
    assert len(cluster.routes) == 1000 * MEGABYTES
    assert problems == []


@pytest.mark.parametrize(
    "text",
    [
        "a: [" + "1, " * (350_000 * MEGABYTES) + "]",
        "[" * (1_000_000 * MEGABYTES),
        "- " * (500_000 * MEGABYTES),
        "a: '" + "x" * (1_000_000 * MEGABYTES) + "'",
        "kind: ApiRoute\nspec:\n" + "".join(f"  k{number:050}: 1\n" for number in range(18_000 * MEGABYTES)),
        "x: &x [1]\n" + "y: [" + "*x, " * (250_000 * MEGABYTES) + "]",
        "---\n" * (250_000 * MEGABYTES),
        "---\na: [\n" * (120_000 * MEGABYTES),
        "!!binary " + "A" * (1_000_000 * MEGABYTES),
    ],
    ids=["list", "deep", "dashes", "text", "unknown", "aliases", "documents", "broken", "binary"],
)
def test_megabytes_of_anything_end_soon(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, problems = load([tmp_path])
    assert time.process_time() - began < 4 * MEGABYTES  # an eighth of it at most on the machine this was written on
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000 * MEGABYTES  # KiB
    assert problems
