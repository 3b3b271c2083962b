"""Injection: `injection/CASE/pod.yaml` in; `pod.json`, the pod as it will be, or `refused.txt` out.

`namespace.yaml` beside it has the namespace's labels. `make golden` writes what comes out anew; read the diff.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidewinder_operator.inject.annotations import Refused
from sidewinder_operator.inject.options import Options, Resources
from sidewinder_operator.inject.patch import Namespace, inject
from tests.support.json_patch import patched

CASES = sorted(path for path in (Path(__file__).parent / "injection").iterdir() if path.is_dir())
OPTIONS = Options(
    image="example.org/sidewinder-sidecar:1",
    resources=Resources(requests={"cpu": "10m", "memory": "48Mi"}, limits={"memory": "256Mi"}),
)


def given(case: Path) -> tuple[dict[str, Any], Namespace]:
    labels = case / "namespace.yaml"
    found = yaml.safe_load(labels.read_text()) if labels.exists() else {}
    return yaml.safe_load((case / "pod.yaml").read_text()), Namespace("shop", found)


def outcome(pod: dict[str, Any], namespace: Namespace) -> tuple[str, str]:
    """The file's name and its content."""
    try:
        injection = inject(pod, namespace, OPTIONS)
    except Refused as refused:
        return "refused.txt", "\n".join(refused.reasons) + "\n"
    if injection.passed_over:
        return "passed_over.txt", injection.passed_over + "\n"
    told = "".join(f"# {warning}\n" for warning in injection.warnings)
    return "pod.json", told + json.dumps(patched(pod, injection.patch), indent=1) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_the_pod_becomes_what_was_agreed(case: Path, rewrite: bool) -> None:
    name, content = outcome(*given(case))
    if rewrite:
        for old in (*case.glob("*.json"), *case.glob("*.txt")):
            old.unlink()
        (case / name).write_text(content)
    assert {path.name for path in case.iterdir() if path.suffix != ".yaml"} == {name}
    assert (case / name).read_text() == content


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_second_round_changes_nothing(case: Path) -> None:
    pod, namespace = given(case)
    try:
        once = patched(pod, inject(pod, namespace, OPTIONS).patch)
    except Refused:
        return
    assert inject(once, namespace, OPTIONS).patch == ()
