"""Each source file has its test file at the same place, files and functions are short, names say what they are."""

from __future__ import annotations

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = {
    "sidecar": ROOT / "sidecar/src/sidewinder_sidecar",
    "operator": ROOT / "operator/src/sidewinder_operator",
}
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "impl"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 50


def _modules():
    for side, root in SOURCES.items():
        for path in sorted(root.rglob("*.py")):
            yield pytest.param(side, path.relative_to(root), path, id=f"{side}/{path.relative_to(root)}")


MODULES = list(_modules())


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def expected(side, relative):
    """`router/__init__.py` is tested by `router/test_router.py`, everything else by `test_<name>.py` in its place."""
    folder = ROOT / "tests" / side / relative.parent
    return folder / f"test_{relative.parent.name if relative.stem == '__init__' else relative.stem}.py"


@pytest.mark.parametrize(("side", "relative", "path"), MODULES)
def test_a_source_file_has_its_test_file(side, relative, path):
    tree = ast.parse(path.read_text())
    if not functions(tree):
        return  # nothing to run: data, names for import
    found = expected(side, relative)
    assert found.exists(), f"{path.relative_to(ROOT)} wants {found.relative_to(ROOT)}"


@pytest.mark.parametrize(("side", "relative", "path"), MODULES)
def test_a_source_file_says_what_it_is(side, relative, path):
    assert ast.get_docstring(ast.parse(path.read_text())), "a module opens with what it is, who calls it, whom it calls"


@pytest.mark.parametrize(("side", "relative", "path"), MODULES)
def test_files_and_functions_are_short(side, relative, path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in functions(ast.parse(text))
        if node.end_lineno - node.lineno >= LONGEST_FUNCTION
    }
    assert not long


@pytest.mark.parametrize(("side", "relative", "path"), MODULES)
def test_names_say_what_something_is(side, relative, path):
    assert not FORBIDDEN & {part.removesuffix(".py") for part in relative.parts}


def test_the_median_is_short():
    lengths = sorted(path.read_text().count("\n") for root in SOURCES.values() for path in root.rglob("*.py"))
    assert lengths[len(lengths) // 2] <= 150


def test_tests_are_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))
