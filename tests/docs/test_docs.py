"""What the pages say is so: manifests are read, commands parsed, links followed, names and numbers looked up."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import click
import pytest

from sidewinder_operator.cli.main import main
from sidewinder_operator.cli.validate import validate
from sidewinder_operator.local.children import LONGEST_BACKOFF
from sidewinder_operator.local.ports import HIGHEST, LOWEST
from sidewinder_operator.local.replicas import NO_PROXY
from sidewinder_operator.settings import Settings as OperatorSettings
from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.fleet import OUTSIDE, OUTSIDE_SECONDS
from sidewinder_sidecar.http1 import lines
from sidewinder_sidecar.http1.framing import EXTENSIONS, LONGEST_LINE, LONGEST_TRAILERS
from sidewinder_sidecar.main import pages as admin_pages
from sidewinder_sidecar.replay import BOUND
from sidewinder_sidecar.router.split import LARGEST_DECK
from sidewinder_sidecar.settings import LIMIT_PREFIX, PREFIX, Limits, Settings, variables
from sidewinder_sidecar.telemetry import spans
from sidewinder_sidecar.telemetry.metrics import MAX_SERIES, Metrics
from tests.support.pages import ROOT, Page, pages

PAGES = pages()
BY_NAME = {page.name: page for page in PAGES}
FOR_USERS = [
    BY_NAME[name]
    for name in ("README.md", "docs/cluster.md", "docs/tutorial.md", "docs/local.md", "docs/http.md", "docs/observe.md")
]
MISSING = {
    "BackendNotFound",
    "NoMatchingParent",
    "RefNotFound",
    "TargetNotFound",
}  # an excerpt need not hold what it names
page_by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


# ── manifests and commands ────────────────────────────────────────────────────────────────────────────────────────────


def manifests() -> Iterator[object]:
    for page in PAGES:
        for number, block in enumerate(block for block in page.blocks() if block.language == "yaml"):
            yield pytest.param(block.text, id=f"{page.name}-{number}")


@pytest.mark.parametrize("text", [*manifests()])
def test_a_manifest_on_a_page_is_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.yaml").write_text(text)
    found = [problem for problem in validate([tmp_path]) if problem.reason not in MISSING]
    assert found == []


def command_lines(page: Page) -> list[str]:
    lines = [
        line.strip() for block in page.blocks() if block.language in ("", "sh") for line in block.text.splitlines()
    ]
    return [line.partition(" #")[0] for line in lines if line.startswith("sidewinder ")]


def test_pages_have_commands() -> None:
    assert len([line for page in PAGES for line in command_lines(page)]) > 8


@page_by_name
def test_a_command_in_a_block_parses(page: Page) -> None:
    for line in command_lines(page):
        name, *arguments = shlex.split(line)[1:]
        main.commands[name].make_context(name, arguments)  # raises for what the command line would refuse


@pytest.mark.parametrize("page", FOR_USERS, ids=lambda page: page.name)
def test_a_command_in_a_sentence_exists(page: Page) -> None:
    for code in page.codes():
        if code.startswith("sidewinder "):
            name, *words = code.split()[1:]
            known = {option for parameter in main.commands[name].params for option in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= known, code


@page_by_name
def test_a_make_target_exists(page: Page) -> None:
    rules = (ROOT / "Makefile").read_text() + (ROOT / "tests/cluster/cluster.mk").read_text()
    targets = set(re.findall(r"^([.\w-]+):", rules, re.MULTILINE)) | {".venv"}
    written = [*page.codes(), *(line.strip() for block in page.blocks() for line in block.text.splitlines())]
    named = {found[1] for code in written if (found := re.match(r"(?:\w+=\S+ )*make (?:\w+=\S+ )*([a-z.-]+)", code))}
    assert named <= targets


def test_local_md_has_every_option_of_up() -> None:
    table = BY_NAME["docs/local.md"].text.partition("| option of `up`")[2].partition("\n\n")[0]
    options = {option for parameter in main.commands["up"].params for option in parameter.opts}
    assert set(re.findall(r"`(--?[a-z-]+)`", table)) == options
    defaults = {p.name: p.default for p in main.commands["up"].params if isinstance(p, click.Option)}
    assert f"| `--port` | {defaults['port']} |" in table
    assert f"| `--state` | `{defaults['state']}` |" in table


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@page_by_name
def test_a_link_leads_somewhere(page: Page) -> None:
    for link in page.links():
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(target).anchors(), link


def test_every_page_is_reached_from_the_readme() -> None:
    named = {(ROOT / link).resolve() for link in BY_NAME["README.md"].links()}
    for page in FOR_USERS[1:]:
        assert page.path in named


# ── errors, metrics, settings, attributes ─────────────────────────────────────────────────────────────────────────────


def table_of_errors() -> str:
    rows = [
        "| error | status | type in Proxy-Status | flag | retry condition | closes | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, rule in TABLE.items():
        retry, closes = rule.retry or "–", "yes" if rule.close else "no"
        rows.append(f"| `{key}` | {rule.status} | `{rule.type}` | {rule.flag} | {retry} | {closes} | {rule.meaning} |")
    return "\n".join(rows)


def test_the_table_of_errors_is_in_step() -> None:
    found = BY_NAME["docs/http.md"].text.partition("<!-- errors: begin -->\n")[2].partition("\n<!-- errors: end -->")[0]
    wanted = table_of_errors()
    assert found == wanted, f"in docs/http.md the table should be:\n{wanted}"


@pytest.mark.parametrize("heading", ["What is refused", "Limits"])
def test_a_named_error_exists(heading: str) -> None:
    for row in BY_NAME["docs/http.md"].rows(heading):
        assert set(re.findall(r"`([a-z_]+)`", row[-1])) <= TABLE.keys(), row


def test_statuses_beside_errors_are_theirs() -> None:
    told = [re.findall(r"\b([45]\d\d) `([a-z_]+)`", page.text) for page in PAGES]
    for status, error in (pair for found in told for pair in found):
        assert TABLE[error].status == int(status)


def metric_names() -> set[str]:
    metrics = Metrics()
    admin_pages.gauges(MagicMock(metrics=metrics))
    names = {family.name for family in metrics.families}
    metrics.families.clear()
    rendered = "".join(metrics.render())
    return names | set(re.findall(r"^# TYPE (\w+)", rendered, re.MULTILINE))


@page_by_name
def test_a_named_metric_exists(page: Page) -> None:
    named = set(
        re.findall(r"\bsidewinder_(?!operator|sidecar)[a-z_]+", page.text)
    )  # those are packages, and another process
    assert named <= metric_names()


def test_every_metric_that_the_reference_names_exists() -> None:
    named = {name for row in BY_NAME["docs/reference/telemetry.md"].rows("Metrics") for name in _codes(row[0])}
    assert named == metric_names()


def setting_names() -> set[str]:
    own = {variable.name for variable in variables(Settings, PREFIX)}
    limits = {variable.name for variable in variables(Limits, LIMIT_PREFIX)}
    return own | limits | {PREFIX + field.upper() for field in OperatorSettings.__struct_fields__}


@page_by_name
def test_a_named_setting_exists(page: Page) -> None:
    named = set(re.findall(r"\bSIDEWINDER_[A-Z_]*", page.text)) - {PREFIX, LIMIT_PREFIX}
    assert named <= setting_names()


UNITS = {"KiB": 1024, "h": 3600}


def test_the_limits_are_the_defaults() -> None:
    defaults = {variable.name: variable.default for variable in variables(Limits, LIMIT_PREFIX)}
    seen = set()
    for row in BY_NAME["docs/http.md"].rows("Limits"):
        numbers = [int(number) * UNITS.get(unit, 1) for number, unit in re.findall(r"\b(\d+) ?(KiB|h\b)?", row[1])]
        for name, number in zip(re.findall(r"SIDEWINDER_\w+", row[1]), numbers, strict=False):
            assert number == defaults[name], row
            seen.add(name)
    assert len(seen) >= 9


def _codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_attributes_of_spans_are_those_that_are_set() -> None:
    source = Path(spans.__file__).read_text()
    made = set(re.findall(r'"((?:sidewinder|[a-z_]+)(?:\.[a-z_]+)+)"', source)) - {"sidewinder.spans"}
    told = {name for row in BY_NAME["docs/observe.md"].rows("Traces") for name in _codes(row[0])}
    assert told == made


def test_the_fields_that_cannot_be_nominated_away_are_named() -> None:
    paragraph = BY_NAME["docs/http.md"].text.partition("such fields stay:")[2].partition("\n\n")[0]
    told = {code.lower() for code in _codes(paragraph)}
    kept = {name.decode() for name in lines._KEPT} | {f"{prefix.decode()}…" for prefix in lines._KEPT_PREFIXES}
    assert told == kept


CONSTANTS = [
    ("docs/local.md", f"between {LOWEST} and {HIGHEST}"),
    ("docs/local.md", f"`{NO_PROXY}`"),
    ("docs/local.md", f"At most {OUTSIDE} hosts"),
    ("docs/local.md", f"nobody asked for {OUTSIDE_SECONDS:g} s"),
    ("docs/local.md", f"up to {LONGEST_BACKOFF:g} s"),
    ("docs/http.md", f"body is at most {BOUND >> 10} KiB"),
    ("docs/http.md", f"at most\n{LARGEST_DECK}) the shares"),
    ("docs/http.md", f"more than {LONGEST_LINE} bytes of size and extensions"),
    ("docs/http.md", f"more than {EXTENSIONS >> 10} KiB of extensions"),
    ("docs/http.md", f"more than {LONGEST_TRAILERS >> 10} KiB of trailers"),
    ("docs/observe.md", f"beyond {MAX_SERIES} series"),
]


@pytest.mark.parametrize(("page", "told"), CONSTANTS, ids=lambda value: value[:30])
def test_a_number_is_the_code_s(page: str, told: str) -> None:
    assert told in BY_NAME[page].text


# ── the shape of the house ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("side", "contract"), [("sidecar", "Sidecar layers"), ("operator", "Operator layers")])
def test_the_layers_on_the_page_are_those_that_are_proved(side: str, contract: str) -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(each["layers"] for each in tools["contracts"] if each["name"] == contract)
    wanted = " > ".join(layer.replace("(", "").replace(")", "") for layer in layers)
    shown = re.search(rf"^{side} +(main >.*?)(?=^\w)", BY_NAME["docs/architecture.md"].text, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert " ".join(shown[1].split()) == wanted


@pytest.mark.parametrize("side", ["sidecar", "operator"])
def test_every_place_is_on_the_page(side: str) -> None:
    layout = BY_NAME["docs/architecture.md"].text.partition("## Layout")[2].partition("\n## ")[0]
    part = layout.partition(f"└ src/sidewinder_{side}/")[2].partition("└ src/")[0]
    places = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / side / "src" / f"sidewinder_{side}").iterdir()
        if (path.is_dir() and any(path.glob("*.py"))) or (path.suffix == ".py" and path.stem != "__init__")
    }
    assert {place for place in places if not re.search(rf"(?:^|\s){re.escape(place)}", part)} == set()
