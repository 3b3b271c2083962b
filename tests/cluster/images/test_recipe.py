"""When an image has to be made again, and what its build gets to see."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.images import catalog
from tests.cluster.images.recipe import Image


@pytest.fixture
def image(tmp_path: Path) -> Image:
    for name, text in {"Dockerfile": "FROM x", "a/one.py": "1", "a/two.py": "2", "a/test_one.py": "t"}.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Image("demo", "Dockerfile", ("a/*.py",), context=tmp_path / "tree")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "a/one.py").write_text("other"),
    "dockerfile": lambda tree: (tree / "Dockerfile").write_text("FROM y"),
    "another file": lambda tree: (tree / "a/three.py").touch(),
    "a file less": lambda tree: (tree / "a/two.py").unlink(),
    "its name": lambda tree: (tree / "a/two.py").rename(tree / "a/deux.py"),
    "its mode": lambda tree: (tree / "a/two.py").chmod(0o755),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_an_input_changes_the_tag(image: Image, change: Callable[[Path], object]) -> None:
    before = image.reference("base")
    change(image.context)
    assert image.reference("base") != before


def test_the_base_and_the_arguments_count_and_tests_do_not(image: Image) -> None:
    before = image.reference("base")
    (image.context / "a/test_one.py").write_text("other")
    (image.context / "unconcerned").touch()
    (image.context / "a/one.py").touch()
    assert image.reference("base") == before
    assert image.reference("newer base") != before
    assert Image("demo", "Dockerfile", ("a/*.py",), (("A", "1"),), image.context).reference("base") != before


def test_a_reference_is_a_full_name_that_no_registry_has(image: Image) -> None:
    assert re.fullmatch(r"sidewinder\.test/demo:[0-9a-f]{12}", image.reference("base"))


def test_a_build_sees_its_inputs_and_nothing_else(image: Image, tmp_path: Path) -> None:
    (image.context / "secret").write_text("s")
    image.stage(tmp_path / "stage")
    found = {str(path.relative_to(tmp_path / "stage")) for path in (tmp_path / "stage").rglob("*") if path.is_file()}
    assert found == {"Dockerfile", "a/one.py", "a/two.py"}
    assert (tmp_path / "stage/a/one.py").stat().st_mode & 0o777 == 0o644


def test_a_pattern_without_a_file_is_an_error(image: Image) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing matches b/\*"):
        Image("demo", "Dockerfile", ("b/*",), context=image.context).digest("base")


@pytest.mark.parametrize("name", ["apps", "stores"])
def test_a_dockerfile_copies_only_what_is_staged(name: str) -> None:
    """Every source of a COPY matches an input, so that the digest knows it."""
    image = catalog.ALL[name]
    inputs = [file for file, _ in image.files()]
    for line in (image.context / image.dockerfile).read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert any(Path(file).match(source) for file in inputs), line
