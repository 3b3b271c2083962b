"""What a pod's state says about one of its containers."""

from __future__ import annotations

from typing import Any

from tests.cluster.support.containers import status, statuses
from tests.cluster.support.mesh import proxy_of

POD: dict[str, Any] = {
    "spec": {"initContainers": [{"name": "sidewinder-capture"}, {"name": "sidewinder-proxy"}]},
    "status": {
        "initContainerStatuses": [{"name": "sidewinder-proxy", "restartCount": 1}],
        "containerStatuses": [{"name": "echo", "restartCount": 0}],
    },
}


def test_native_sidecars_are_among_the_containers() -> None:
    assert [each["name"] for each in statuses(POD)] == ["sidewinder-proxy", "echo"]
    assert status(POD, "sidewinder-proxy")["restartCount"] == 1


def test_what_the_kubelet_has_not_told_yet_is_empty() -> None:
    assert status(POD, "other") == status({}, "echo") == {}


def test_the_proxy_is_found_where_there_is_one() -> None:
    assert proxy_of(POD) == {"name": "sidewinder-proxy"}
    assert proxy_of({"spec": {}}) is None
