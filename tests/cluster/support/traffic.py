"""Load from a pod: started, stopped, and asked what it saw.

Called by the fixture `load`; calls namespace.py. The load client is one of the test applications
(tests/cluster/apps/load.py); its last line is the summary, each line before it a failure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from types import TracebackType
from typing import Any

from kubernetes.client.exceptions import ApiException

from tests.cluster.bed.waiting import BedError

from .namespace import Namespace

ENDED = ("Succeeded", "Failed")
# Seconds in which the client's first connection may fail. kube-proxy tells a node of a Service's pods within one.
PATIENCE = 10


@dataclasses.dataclass(frozen=True)
class Result:
    """What a load client counted, and its first failures for people."""

    summary: dict[str, Any]
    failures_told: list[str]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.summary[name]
        except KeyError:
            raise AttributeError(name) from None

    def assert_no_failures(self) -> None:
        """The client exists to prove this; the message shows what it saw."""
        first = "\n".join(self.failures_told[:10])
        assert self.summary["requests"] > 0, "the load client sent nothing"
        assert self.summary["failures"] == 0, f"{self.summary}\n{first}"


def parse(log: str) -> Result:
    """The client's output; one that ended without a summary broke down, and its words are the error."""
    lines = log.strip().splitlines()
    try:
        summary = json.loads(lines[-1])
        counted = summary["requests"], summary["failures"]
    except (IndexError, ValueError, KeyError, TypeError):
        raise BedError("the load client ended without a summary:\n" + "\n".join(lines[-20:])) from None
    assert all(isinstance(number, int) for number in counted)
    return Result(summary, lines[:-1])


class Load:
    """A load client in a pod of its own. Leaving the block stops it; then `result` is there."""

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        job: dict[str, Any],
        labels: dict[str, str],
        spec: dict[str, Any] | None = None,
    ) -> None:
        self._namespace, self._name = namespace, name
        self.result: Result | None = None
        container = {
            "name": "load",
            "image": "$apps_image",
            "args": ["load", json.dumps({"patience": PATIENCE} | job).replace("$", "$$")],
        }
        own = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [container]}
        metadata = {"name": name, "labels": {"app": name} | labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": own | (spec or {})}
        namespace.apply(json.dumps(pod))

    def __enter__(self) -> Load:
        """It sends as soon as the block is entered."""
        self._namespace.wait_for(f"Pod/{self._name}", lambda pod: pod["status"]["phase"] in ("Running", *ENDED))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()

    def wait(self, seconds: float = 120) -> Result:
        """The result, when the client has ended by itself."""
        reference = f"Pod/{self._name}"
        self._namespace.wait_for(reference, _over, seconds=seconds)
        self.result = parse(self._namespace.logs(self._name, "load"))
        return self.result

    def stop(self) -> Result:
        """Tell the client to end, and wait for its summary."""
        if self.result is None:
            with contextlib.suppress(ApiException):  # it has ended by itself
                self._namespace.try_in_pod(self._name, "sh", "-c", "kill -TERM 1", container="load")
            self.wait()
        assert self.result
        return self.result


def _over(pod: Any) -> bool:
    """The client has ended; a sidecar beside it may still run."""
    statuses = pod["status"].get("containerStatuses") or []
    return any(status["name"] == "load" and "terminated" in status["state"] for status in statuses)
