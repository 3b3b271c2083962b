"""What a failed test says about its namespace: events, objects and the last lines of every container.

Called by tests/cluster/conftest.py when a test failed; calls kubectl. A question that cannot be answered is told in
its place: the report of a failure must not fail.
"""

from __future__ import annotations

import subprocess

from tests.cluster.bed.waiting import BedError

from .cluster import Cluster

LINES = 60  # of each container: enough for a traceback and what led to it
LIMIT = 20  # seconds for each question; the API server may be what is broken
WIDTH = 60_000  # characters of one section; a report is for reading

QUESTIONS = {
    "events": ("get", "events", "--sort-by=.lastTimestamp"),
    "objects": ("get", "pods,services,endpointslices,deployments,statefulsets,jobs", "--output=wide"),
    "pods": ("describe", "pods"),
}


def _ask(cluster: Cluster, *words: str) -> str:
    try:
        return cluster.kubectl(*words, f"--request-timeout={LIMIT}s", seconds=LIMIT + 5)
    except (BedError, OSError, subprocess.TimeoutExpired) as error:
        return f"no answer: {error}"


def _logs(cluster: Cluster, namespace: str) -> str:
    names = _ask(cluster, "get", "pods", f"--namespace={namespace}", "--output=name")
    if names.startswith("no answer"):
        return names
    options = (f"--namespace={namespace}", "--all-containers", "--prefix", f"--tail={LINES}", "--ignore-errors")
    return "\n".join(_ask(cluster, "logs", name, *options) for name in names.split())


def sections(cluster: Cluster, namespace: str) -> list[tuple[str, str]]:
    """Titles and texts for the test's report."""
    answers = {title: _ask(cluster, *words, f"--namespace={namespace}") for title, words in QUESTIONS.items()}
    answers["logs"] = _logs(cluster, namespace)
    answers["components that ended"] = "\n".join(cluster.deaths())
    return [(f"{namespace}: {title}", text[-WIDTH:]) for title, text in answers.items() if text.strip()]
