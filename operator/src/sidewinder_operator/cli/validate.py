"""`sidewinder validate`: the same problems that `up` and the cluster would tell, without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.compile.wreck import Wreck, salvage
from sidewinder_operator.local.files import Manifests
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources.policy import ApiPolicy

POLICY = ApiPolicy.KIND


def validate(paths: Sequence[Path]) -> list[Problem]:
    """Everything that is wrong with these manifests, by place."""
    manifests = Manifests(paths)
    cluster, problems = manifests.load()
    return [*problems, *manifests.placed(compile_cluster(cluster, wrecks=remains(manifests)).problems)]


def remains(manifests: Manifests) -> tuple[Wreck, ...]:
    """What is legible of the policies that cannot be read: what they were to secure is closed, not opened."""
    wrecks = (salvage(reference, raw) for reference, raw in manifests.wrecks().items() if reference.kind == POLICY)
    return tuple(sorted(wrecks, key=lambda wreck: wreck.reference))


def as_json(problems: Sequence[Problem]) -> str:
    """The problems for machines: one object with a list."""
    document = {"problems": [_plain(problem) for problem in problems]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _plain(problem: Problem) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(problem)
    return plain
