"""The cluster as the command line reaches it: through kubectl, which knows contexts, plugins and proxies already.

Called by the commands that look at a cluster. Paths are the API server's own, so that nothing depends on how kubectl
prints.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

SECONDS = 30
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

    def _run(self, *words: str, text: str = "") -> str:
        if shutil.which(self._words[0]) is None:
            raise Unreachable(f"{self._words[0]} is not on the PATH: install it; it knows how your cluster is reached")
        try:
            done = subprocess.run(
                [*self._words, *words], input=text, capture_output=True, text=True, timeout=SECONDS + 10, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unreachable(f"kubectl did not answer within {SECONDS + 10} s") from None
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip()
        if found := _REASON.search(said):
            raise Refused(_STATUS.get(found[1] or "", 0), found[2].strip())
        raise Unreachable(said or f"kubectl ended with status {done.returncode}")
