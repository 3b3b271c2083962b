"""Each source file has its test file at the same place, files and functions are short, names say what they are."""

from __future__ import annotations

import ast
import functools
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = {
    "sidecar": ROOT / "sidecar/src/sidewinder_sidecar",
    "operator": ROOT / "operator/src/sidewinder_operator",
}
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "impl"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 50


MODULES = [
    (side, path.relative_to(root), path) for side, root in SOURCES.items() for path in sorted(root.rglob("*.py"))
]


@functools.cache
def trees():
    """Parsed when the first test asks: every worker of a run imports this module, and one of them needs it."""
    return {path: ast.parse(path.read_text()) for _, _, path in MODULES}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def expected(side, relative):
    """`router/__init__.py` is tested by `router/test_router.py`, everything else by `test_<name>.py` in its place."""
    folder = ROOT / "tests" / side / relative.parent
    return folder / f"test_{relative.parent.name if relative.stem == '__init__' else relative.stem}.py"


def test_there_are_source_files():
    assert {side for side, _, _ in MODULES} == set(SOURCES)
    assert len(MODULES) > 300


def test_a_source_file_has_its_test_file():
    """But for those with nothing to run: data, names for import."""
    wanted = {path: expected(side, relative) for side, relative, path in MODULES if functions(trees()[path])}
    assert not [
        f"{path.relative_to(ROOT)} wants {found.relative_to(ROOT)}"
        for path, found in wanted.items()
        if not found.exists()
    ]


def test_a_source_file_says_what_it_is():
    """A module opens with what it is, who calls it and whom it calls."""
    assert not [str(path.relative_to(ROOT)) for path, tree in trees().items() if not ast.get_docstring(tree)]


def test_files_are_short():
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in trees()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_functions_are_short():
    assert not {
        f"{path.relative_to(ROOT)}::{node.name}": node.end_lineno - node.lineno + 1
        for path, tree in trees().items()
        for node in functions(tree)
        if node.end_lineno - node.lineno >= LONGEST_FUNCTION
    }


def test_names_say_what_something_is():
    assert not [
        str(relative) for _, relative, _ in MODULES if FORBIDDEN & {part.removesuffix(".py") for part in relative.parts}
    ]


def test_the_median_is_short():
    lengths = sorted(path.read_text().count("\n") for root in SOURCES.values() for path in root.rglob("*.py"))
    assert lengths[len(lengths) // 2] <= 150


def test_tests_are_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))
