"""redact: at least one thing to hide, each name as it can be."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.resources.redact import Redact


def test_the_manifest_of_the_design() -> None:
    written = {"headers": ["authorization", "cookie"], "queryParams": ["token"], "jsonPointers": ["/email"]}
    found = msgspec.convert(written, Redact)
    assert (found.headers, found.query_params, found.json_pointers) == (
        ("authorization", "cookie"),
        ("token",),
        ("/email",),
    )


def test_nothing_to_hide_is_a_mistake() -> None:
    (rule,) = Redact.RULES
    assert list(rule.find(msgspec.convert({}, Redact)))
    assert not list(rule.find(msgspec.convert({"queryParams": ["a"]}, Redact)))


@pytest.mark.parametrize(
    "written",
    [{"headers": ["a b"]}, {"queryParams": ["a=b"]}, {"jsonPointers": ["email"]}, {"jsonPointers": ["/a~2"]}],
    ids=["header", "parameter", "no slash", "escape"],
)
def test_what_can_be_no_name_is_refused(written: dict[str, list[str]]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(written, Redact)
