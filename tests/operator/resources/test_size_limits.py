"""sizeLimits: at least one size, each one that can be read."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.resources.size_limits import SizeLimits


def test_the_manifest_of_the_design() -> None:
    found = msgspec.convert({"requestBody": "1Mi", "requestHeaders": "16Ki"}, SizeLimits)
    assert (found.request_body, found.request_headers, found.response_body) == ("1Mi", "16Ki", None)


def test_nothing_to_limit_is_a_mistake() -> None:
    (rule,) = SizeLimits.RULES
    assert list(rule.find(msgspec.convert({}, SizeLimits)))
    for field in ("requestBody", "requestHeaders", "responseBody"):
        assert not list(rule.find(msgspec.convert({field: "0"}, SizeLimits)))


@pytest.mark.parametrize("written", [{"requestBody": "1M"}, {"requestBody": 5}, {"responseHeaders": "1Ki"}])
def test_what_cannot_be_read(written: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(written, SizeLimits)
