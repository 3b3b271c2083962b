"""Golden folders: manifests in; mesh, snapshots, statuses and problems out.

`make golden` rewrites, review reads the diff.

A case is a folder with manifests (`*.yaml`), and with `before/*.yaml` where something was good once and is broken now.
`given.toml` may say what is written in no manifest: `[options]` of the mesh, `[wants]` of pods by their uid, and their
`[verdicts]` on endpoints. A case with pods has no way in.
Fields that have their default are left out, so that a golden file shows what a case is about.
"""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidewinder_operator.compile.compiler import Compiled, Options, compile_cluster
from sidewinder_operator.compile.conditions import statuses
from sidewinder_operator.compile.project import Projector
from sidewinder_operator.problems import Problem, Reference
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.plan.build import Plan, prepare
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import Snapshot, decode, encode
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.support.clusters import Given, folder, running

CASES = sorted(path for path in Path(__file__).parent.iterdir() if path.is_dir() and any(path.glob("*.yaml")))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_golden(case: Path, rewrite: bool) -> None:
    made = produce(case)
    kept = {str(file.relative_to(case)): file for file in case.rglob("*") if file.suffix in (".json", ".txt")}
    if rewrite:
        for name in kept.keys() - made.keys():
            kept[name].unlink()
        for name, text in made.items():
            (case / name).parent.mkdir(exist_ok=True)
            (case / name).write_text(text)
        return
    assert sorted(made) == sorted(kept), "files of the case differ: `make golden` rewrites them"
    for name, text in made.items():
        assert text == kept[name].read_text(), f"{case.name}/{name}: `make golden` rewrites it, review reads the diff"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_every_snapshot_survives_the_wire_and_is_accepted(case: Path) -> None:
    """What the operator sends is what the sidecar can do."""
    now, compiled = _compiled(case)
    projector = Projector(compiled.mesh)
    assert projector.identities(), f"{case.name} has nobody to project to; read: {now.problems}"
    wants = _beside(case).get("wants", {})
    for identity in projector.identities():
        encoded = projector.resources(identity, _found(projector, identity, wants.get(identity, ())))
        sent = {name: decode(name, each.raw) for name, each in encoded.items()}
        assert all(encode(spec) == encoded[name].raw for name, spec in sent.items())
        plan = _planned(sent)
        assert {f"route/{name}" for name in plan.routes} == {name for name in sent if name.startswith("route/")}


def _planned(snapshot: Snapshot) -> Plan:
    limits, wheel = Limits(), Wheel(lambda: 0.0, lambda seconds, call: None)
    fleet = Fleet(wheel, lambda spec, timeout: Endpoint(spec, limits, wheel, timeout))
    return asyncio.run(prepare(snapshot, fleet))


def produce(case: Path) -> dict[str, str]:
    """All golden files of a case."""
    now, compiled = _compiled(case)
    found = statuses(now.cluster, compiled, now.problems)
    projector = Projector(compiled.mesh)
    made = {
        "mesh.json": _json(compiled.mesh),
        "status.json": _json({str(reference): status for reference, status in found.items()}),
        "problems.txt": "".join(
            f"{_line(problem)}\n" for problem in sorted((*now.problems, *compiled.problems), key=_line)
        ),
    }
    wants = _beside(case).get("wants", {})
    for identity in projector.identities():
        wanted = _found(projector, identity, wants.get(identity, ()))
        made[f"snapshots/{identity.replace('/', '.')}.json"] = _json(projector.snapshot(identity, wanted))
    return made


def _beside(case: Path) -> dict[str, Any]:
    file = case / "given.toml"
    return tomllib.loads(file.read_text()) if file.is_file() else {}


def _found(projector: Projector, identity: str, keys: Iterable[str]) -> list[str]:
    return [port for key in keys for port in projector.find(identity, key)]


def _compiled(case: Path) -> tuple[Given, Compiled]:
    now, last_good = folder(case), None
    if (case / "before").is_dir():
        before = folder(case / "before")
        assert not before.problems, f"{case.name}/before must be good"
        last_good = compile_cluster(before.cluster, running=running(before.cluster)).last_good
    runs = running(now.cluster, not now.pods, now.pods)
    compiled = compile_cluster(
        now.cluster,
        last_good,
        running=msgspec.structs.replace(runs, verdicts=_beside(case).get("verdicts", {})),
        wrecks=now.wrecks,
        options=Options(**_beside(case).get("options", {})),
    )
    return now, compiled


def _line(problem: Problem) -> str:
    section = f" [{problem.section}]" if problem.section else ""
    text = f"{problem.severity} {problem.reference}: {problem.field}{section}: {problem.reason}: {problem.message}"
    return text.replace("\n", "\\n")


def _json(value: Any) -> str:
    return _pretty(_plain(value), "") + "\n"


def _pretty(value: Any, margin: str) -> str:
    """JSON for a reader: what fits on one line stands on one line."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(line) + len(margin) <= 110 or not isinstance(value, dict | list):
        return line
    deeper = margin + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + _pretty(item, deeper) for item in value) + f"\n{margin}]"
    items = (f"{deeper}{json.dumps(name)}: {_pretty(value[name], deeper)}" for name in sorted(value))
    return "{\n" + ",\n".join(items) + f"\n{margin}}}"


def _plain(value: Any) -> Any:
    """The value as JSON has it, without fields that have their default."""
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, msgspec.Struct):
        fields = {info.name: getattr(value, info.name) for info in msgspec.structs.fields(value) if _said(value, info)}
        tag = value.__struct_config__.tag
        return {**({"type": tag} if tag else {}), **{name: _plain(each) for name, each in fields.items()}}
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _said(value: msgspec.Struct, info: msgspec.structs.FieldInfo) -> bool:
    default = info.default if info.default is not msgspec.NODEFAULT else info.default_factory
    default = default() if callable(default) else default
    return bool(getattr(value, info.name) != default)
