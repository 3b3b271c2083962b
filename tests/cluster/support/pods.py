"""Commands in containers and what containers print.

Called by namespace.py; calls the `kubernetes` package's streams. Each command has a client of its own: the
package's stream call replaces a method of the client it is given, which two threads must not share.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kubernetes.client import ApiClient, Configuration, CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from tests.cluster.bed.waiting import BedError


@dataclasses.dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


class Pods:
    """The pods of one namespace."""

    def __init__(self, configuration: Configuration, namespace: str) -> None:
        self._configuration, self._namespace = configuration, namespace

    def run(self, pod: str, *command: str, container: str = "", seconds: float = 60) -> Done:
        """The command's end, whatever its status."""
        core = CoreV1Api(ApiClient(self._configuration))
        chosen = {"container": container} if container else {}
        talk = stream(
            core.connect_get_namespaced_pod_exec,
            pod,
            self._namespace,
            command=list(command),
            stdin=False,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
            **chosen,
        )
        try:
            talk.run_forever(timeout=seconds)
            if talk.is_open():
                raise BedError(f"{pod}: {' '.join(command)}: not done within {seconds} s")
            return Done(talk.returncode or 0, talk.read_stdout() or "", talk.read_stderr() or "")
        finally:
            talk.close()

    def check(self, pod: str, *command: str, container: str = "", seconds: float = 60) -> str:
        """The command's output; a status other than 0 is an error with what it said."""
        done = self.run(pod, *command, container=container, seconds=seconds)
        if done.status:
            raise BedError(f"{pod}: {' '.join(command)}: status {done.status}\n{done.out}{done.err}")
        return done.out

    def logs(self, pod: str, container: str = "", *, previous: bool = False) -> str:
        chosen: dict[str, Any] = {"container": container} if container else {}
        core = CoreV1Api(ApiClient(self._configuration))
        try:
            # Raw: the package would otherwise turn output that is JSON into Python's notation.
            answer: Any = core.read_namespaced_pod_log(
                pod, self._namespace, previous=previous, _preload_content=False, **chosen
            )
            return str(answer.data.decode("utf-8", "replace"))
        except ApiException as error:
            raise BedError(f"logs of {pod}: {error.body}") from error
