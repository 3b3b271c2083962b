"""The cluster as the command line reaches it: through kubectl, which knows contexts, plugins and proxies already.

Called by the commands that look at a cluster. Paths are the API server's own, so that nothing depends on how kubectl
prints.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from sidewinder_operator.cli.forward import Failed, forwarded

SECONDS = 30
ANSWER_SECONDS = 10.0  # of a pod
LARGEST_ANSWER = 16 << 20
PAGE = 500  # pods at once, 5 KB each


class Unreachable(Exception):
    """kubectl is not there, or does not reach the cluster; says which."""


class Refused(Exception):
    """The API server said no; `status` is that of HTTP where kubectl tells it, else 0."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_STATUS = {"NotFound": 404, "Forbidden": 403, "Unauthorized": 401, "InternalError": 500, "BadRequest": 400}
_REASON = re.compile(r"Error from server(?: \((\w+)\))?: (.*)", re.DOTALL)


class Kubectl:
    """One cluster. Raises Unreachable where kubectl itself fails, Refused where the API server does."""

    def __init__(self, context: str = "", program: str = "kubectl") -> None:
        self._words = [program, f"--request-timeout={SECONDS}s", *([f"--context={context}"] if context else [])]

    def get(self, path: str) -> Any:
        """What is at this path."""
        return json.loads(self._run("get", "--raw", path))

    def text(self, path: str) -> str:
        """What is at this path, as it stands."""
        return self._run("get", "--raw", path)

    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any:
        """What a pod answers in JSON on one of its ports, those on its loopback included."""
        self._look_for_program()
        try:
            with forwarded(self._words, namespace, pod, port) as local:
                connection = http.client.HTTPConnection("127.0.0.1", local, timeout=ANSWER_SECONDS)
                try:
                    connection.request("GET", path, headers={"Host": f"localhost:{local}"})
                    answer = connection.getresponse()
                    body = answer.read(LARGEST_ANSWER)
                finally:
                    connection.close()
        except Failed as fault:
            raise _fault(str(fault), 1) from None
        except (OSError, http.client.HTTPException) as fault:
            told = f"{namespace}/{pod}: nothing answers on its port {port}: has it a proxy, and does that run?"
            raise Unreachable(f"{told} ({str(fault) or type(fault).__name__})") from None
        if answer.status != 200:
            raise Refused(answer.status, f"{namespace}/{pod}: {path}: {answer.status} {answer.reason}")
        try:
            return json.loads(body)
        except ValueError:
            raise Unreachable(f"{namespace}/{pod}: {path} is answered with something else than JSON") from None

    def find(self, path: str) -> Any | None:
        """What is at this path; None if nothing is."""
        try:
            return self.get(path)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def items(self, path: str) -> Iterator[Any]:
        """All of a list, in pages."""
        more = ""
        while True:
            page = self.get(f"{path}?limit={PAGE}{more}")
            yield from page.get("items") or ()
            if not (token := page["metadata"].get("continue")):
                return
            more = f"&continue={token}"

    def post(self, path: str, body: Any) -> Any:
        """Something made, or asked with `?dryRun=All`."""
        return json.loads(self._run("create", "--raw", path, "-f", "-", text=json.dumps(body)))

    def patch(self, kind: str, namespace: str, name: str, body: Any) -> None:
        """Fields of an object changed, the rest left."""
        words = ("patch", kind, name, f"--namespace={namespace}", "--type=merge", "--patch-file=/dev/stdin")
        self._run(*words, text=json.dumps(body))

    def may(self, verb: str, group: str, resource: str) -> bool:
        """Whether whoever asks may do this, everywhere."""
        attributes = {"verb": verb, "group": group, "resource": resource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def _look_for_program(self) -> None:
        if shutil.which(self._words[0]) is None:
            raise Unreachable(f"{self._words[0]} is not on the PATH: install it; it knows how your cluster is reached")

    def _run(self, *words: str, text: str = "") -> str:
        self._look_for_program()
        try:
            done = subprocess.run(
                [*self._words, *words], input=text, capture_output=True, text=True, timeout=SECONDS + 10, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unreachable(f"kubectl did not answer within {SECONDS + 10} s") from None
        if done.returncode == 0:
            return done.stdout
        raise _fault(done.stderr.strip(), done.returncode)


def _fault(said: str, status: int) -> Refused | Unreachable:
    """What kubectl's last words mean."""
    if found := _REASON.search(said):
        return Refused(_STATUS.get(found[1] or "", 0), found[2].strip())
    return Unreachable(said or f"kubectl ended with status {status}")
