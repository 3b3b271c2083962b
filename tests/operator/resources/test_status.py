"""status: conditions are metav1.Condition, whatever the operator says in them."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.resources.status import ApiPolicyStatus, ApiRouteStatus, Condition, Proxies

GOOD = {
    "type": "Accepted",
    "status": "True",
    "observedGeneration": 3,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "reason": "Accepted",
    "message": "",
}


def test_a_status_is_written_as_kubernetes_writes_it() -> None:
    written = {"conditions": [GOOD], "proxies": {"required": 2, "acknowledged": 1, "rejected": 0}}
    assert msgspec.to_builtins(msgspec.convert(written, ApiRouteStatus))["conditions"][0]["observedGeneration"] == 3
    assert msgspec.convert(written, ApiPolicyStatus).proxies == Proxies(required=2, acknowledged=1)


@pytest.mark.parametrize(("field", "value"), [("status", "true"), ("reason", ""), ("reason", "no word"), ("type", "-")])
def test_a_bad_condition_is_none(field: str, value: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**GOOD, field: value}, Condition)
