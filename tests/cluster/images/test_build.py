"""Builds: what is kept, what is known, what an error says; and one for real, with a secret."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from tests.cluster.images import build, debian, machine
from tests.cluster.images.recipe import Image
from tests.cluster.images.store import Store


def test_an_error_ends_with_the_programs_last_words() -> None:
    script = "for i in $(seq 100); do echo line $i; done; echo at last >&2; exit 3"
    with pytest.raises(build.BuildError, match=r"status 3(.|\n)*at last") as caught:
        build.run(["sh", "-c", script])
    assert "line 1\n" not in str(caught.value)


def test_only_the_newest_archives_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: removed.append(command))
    store, image = Store(tmp_path), Image("demo", "Dockerfile", ())
    for number in range(5):
        archive = store.archive(f"sidewinder.test/demo:{number}")
        archive.touch()
        os.utime(archive, (number, number))
    (tmp_path / "other-1.tar").touch()
    build.prune(store, image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo-2.tar", "demo-3.tar", "demo-4.tar", "other-1.tar"]
    assert [command[-2:] for command in removed] == [["rmi", f"sidewinder.test/demo:{number}"] for number in (1, 0)]


@pytest.mark.parametrize(
    ("digest", "listed", "expected"),
    [(debian.digest(), "sha256:abc\n", "abc"), ("another", "sha256:abc\n", ""), (debian.digest(), "sha256:def\n", "")],
    ids=["known", "made differently", "gone from the store"],
)
def test_the_base_is_known_only_as_it_is_made_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str, listed: str, expected: str
) -> None:
    store = Store(tmp_path)
    assert build.known_base(store) == ""
    (tmp_path / "base.json").write_text(json.dumps({"digest": digest, "id": "abc"}))
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, listed, ""))
    assert build.known_base(store) == expected


class Copying:
    """Stands in for an engine: an image is the Dockerfile, its archive the file of that name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.builds = folder, 0

    def build(self, reference: str, dockerfile: Path, arguments: Mapping[str, str], secrets: list[str]) -> list[str]:
        self.builds += 1
        assert secrets[0] == "--secret"
        return ["cp", str(dockerfile), str(self.folder / "image")]

    def save(self, reference: str, archive: Path) -> list[str]:
        return ["cp", str(self.folder / "image"), str(archive)]


def test_an_engine_builds_once_for_the_same_inputs(tmp_path: Path) -> None:
    tree, engine, store = tmp_path / "tree", Copying(tmp_path), Store(tmp_path / "cache")
    tree.mkdir()
    (tree / "Dockerfile").write_text("FROM x")
    image = Image("demo", "Dockerfile", (), context=tree)
    first, second = build.build_with(engine, image, store), build.build_with(engine, image, store)
    assert (first.archive, engine.builds) == (second.archive, 1)
    assert first.archive.read_text() == "FROM x"
    (tree / "Dockerfile").write_text("FROM y")
    assert build.build_with(engine, image, store).reference != first.reference


def layers(archive: Path) -> dict[str, bytes]:
    """All files of all layers of an OCI archive, by path."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as outer:

        def blob(name: str) -> IO[bytes]:
            file = outer.extractfile(name)
            assert file
            return file

        index = json.load(blob("index.json"))
        manifest = json.load(blob("blobs/" + index["manifests"][0]["digest"].replace(":", "/")))
        for layer in manifest["layers"][1:]:  # without the base
            with tarfile.open(fileobj=blob("blobs/" + layer["digest"].replace(":", "/"))) as inner:
                for member in inner:
                    file = inner.extractfile(member) if member.isfile() else None
                    found[member.name] = file.read() if file else b""
    return found


@pytest.mark.cluster
def test_a_real_build_uses_secrets_keeps_none_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the store of the cache, whose base it needs; its own image and archive go in the end."""
    monkeypatch.setattr(machine, "pip_settings", lambda listing: "[global]\nindex-url = the-secret\n")
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nCOPY input /input\n"
        "RUN --mount=type=secret,id=pip.conf grep -c the-secret /run/secrets/pip.conf > /seen\n"
        "RUN python3 -V > /version\n"
    )
    (tmp_path / "input").write_text(str(tmp_path))  # a digest that no other run has
    image, store = Image("build-test", "Dockerfile", ("input",), context=tmp_path), Store.here()
    first = build.build(image, store)
    try:
        second = build.build(image, store)
        assert second.archive == first.archive
        assert second.archive.stat().st_mtime_ns == first.archive.stat().st_mtime_ns
        files = layers(first.archive)
        assert files["seen"] == b"1\n"
        assert files["version"].startswith(b"Python 3.13.")
        assert not any(b"the-secret" in content for content in files.values())
    finally:
        first.archive.unlink(missing_ok=True)
        subprocess.run(store.buildah("rmi", first.reference), capture_output=True, check=False)
