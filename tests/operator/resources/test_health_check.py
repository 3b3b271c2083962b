"""healthCheck: defaults, and what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_operator.resources.read import read
from tests.support.refusals import policy

HTTP = {"type": "HTTP", "http": {"path": "/healthz"}}


@pytest.mark.parametrize("section", [HTTP, {"type": "TCP"}], ids=["HTTP", "TCP"])
def test_little_is_enough(section: dict[str, Any]) -> None:
    found = read(policy(healthCheck=section)).found
    assert found is not None
    meant = found.spec.health_check  # type: ignore[union-attr]
    assert (meant.interval, meant.timeout, meant.healthy_threshold, meant.unhealthy_threshold) == ("5s", "1s", 2, 3)
    assert meant.http is None or meant.http.expected_statuses == (200,)


@pytest.mark.parametrize(
    ("section", "field"),
    [
        pytest.param({"type": "HTTP"}, "http", id="nothing to ask"),
        pytest.param({**HTTP, "type": "TCP"}, "http", id="a path for a connection"),
        pytest.param({"type": "gRPC"}, "type", id="not spoken yet"),
        pytest.param({"type": "TCP", "timeout": "6s"}, "timeout", id="longer than the interval"),
        pytest.param({"type": "TCP", "interval": "10ms", "timeout": "50ms"}, "interval", id="a flood"),
        pytest.param({"type": "TCP", "unhealthyThreshold": 0}, "unhealthyThreshold", id="out of nothing"),
        pytest.param({"type": "HTTP", "http": {"path": "healthz"}}, "http.path", id="no path"),
        pytest.param({"type": "HTTP", "http": {"path": "/a b"}}, "http.path", id="a space"),
        pytest.param({"type": "HTTP", "http": {"path": "/a#b"}}, "http.path", id="a fragment"),
        pytest.param(
            {"type": "HTTP", "http": {"path": "/", "expectedStatuses": []}}, "http.expectedStatuses", id="no answer is"
        ),
    ],
)
def test_what_is_refused(section: dict[str, Any], field: str) -> None:
    fields = [problem.field for problem in read(policy(healthCheck=section)).problems]
    assert f"spec.healthCheck.{field}" in fields


@pytest.mark.parametrize("kind", ["Mesh", "Namespace"])
def test_only_a_service_says_how_it_is_asked(kind: str) -> None:
    written = policy(healthCheck=HTTP)
    written["spec"]["targetRefs"] = [{"kind": kind}]
    assert any("healthCheck" in problem.message for problem in read(written).problems)
