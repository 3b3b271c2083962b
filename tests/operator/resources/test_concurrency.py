"""concurrency: at least one limit, each of them a number that can be kept."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_operator.resources.read import read
from tests.support.refusals import policy


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        pytest.param({"maxRequests": 256}, [], id="one"),
        pytest.param({"perEndpoint": {"maxPending": 1}}, [], id="of each endpoint"),
        pytest.param({}, ["spec.concurrency"], id="none"),
        pytest.param({"perEndpoint": {}}, ["spec.concurrency.perEndpoint"], id="none of each endpoint"),
        pytest.param({"maxRequests": 0}, ["spec.concurrency.maxRequests"], id="nothing at all"),
    ],
)
def test_what_is_taken_and_what_is_refused(section: dict[str, Any], fields: list[str]) -> None:
    assert [problem.field for problem in read(policy(concurrency=section)).problems] == fields
