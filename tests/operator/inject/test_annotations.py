"""The table of annotations: each example is taken, each mistake is told, and the page is in step."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidewinder_operator.inject import annotations as table
from sidewinder_operator.inject.annotations import ANNOTATIONS, PREFIX, Asked, Refused, read

PAGE = Path(__file__).parents[3] / "docs/reference/annotations.md"


def test_the_page_is_in_step():
    assert PAGE.read_text() == table.reference(), (
        "run `python -m sidewinder_operator.inject.annotations > docs/reference/annotations.md`"
    )


@pytest.mark.parametrize("row", ANNOTATIONS, ids=lambda row: row.name)
def test_each_example_says_something(row):
    asked = read({PREFIX + row.name: row.example})
    assert getattr(asked, row.field) != getattr(Asked(), row.field)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("exclude-inbound-ports", "0"),
        ("exclude-inbound-ports", "65536"),
        ("exclude-inbound-ports", "٣"),
        ("exclude-outbound-ports", ",".join(map(str, range(1, 66)))),
        ("exclude-outbound-networks", "192.0.2.1/24"),
        ("exclude-outbound-networks", "all"),
        ("cpu-request", "1 core"),
        ("cpu-limit", "-1"),
        ("memory-request", "64MB"),
        ("memory-limit", ""),
        ("access-log", "/dev/null"),
        ("log-level", "INFO"),
        ("otlp-endpoint", "collector:4317"),
        ("drain-seconds", "0"),
        ("drain-seconds", "1.5"),
        ("pre-stop", "no"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(name, text):
    with pytest.raises(Refused) as refused:
        read({PREFIX + name: text})
    (reason,) = refused.value.reasons
    assert reason.startswith(f"metadata.annotations[{PREFIX}{name}]: ")
    assert " is not " in reason


def test_all_mistakes_are_told_at_once_and_others_annotations_are_nobodys_business():
    given = {PREFIX + "log-level": "x", PREFIX + "cpu-requests": "1", "example.org/x": "y", table.INJECTED: "{}"}
    with pytest.raises(Refused) as refused:
        read(given)
    assert len(refused.value.reasons) == 2
    assert "did you mean sidewinder.dev/cpu-request?" in str(refused.value)


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(Refused) as refused:
        read({PREFIX + "log-level": "x" * 100_000})
    assert len(str(refused.value)) < 300


def test_lists_may_have_spaces_and_repetitions():
    assert read({PREFIX + "exclude-inbound-ports": " 1 ,2,,1"}).exclude_inbound_ports == (1, 2)
