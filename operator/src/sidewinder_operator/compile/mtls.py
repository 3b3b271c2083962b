"""Section `mtls`: which mode holds where several say something.

`policies` asks `effective` for each port of a workload and `spec` for what is sent; `compiler` asks `weaker` for what
is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from sidewinder_operator.compile.sections import Applied, Attachments, Built, Row, Scope, read_spec
from sidewinder_operator.mesh.mtls import MeshMtls
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.mtls import Mtls
from sidewinder_sidecar.snapshot.policies import MtlsSpec

RANK = {"Permissive": 0, "Audit": 1, "Strict": 2}
MESH = Scope("Mesh")


def build(written: Mtls, _cluster: Cluster, _namespace: str = "") -> Built:
    """The section as meant."""
    return MeshMtls(mode=written.mode, except_ports=tuple(sorted(set(written.except_ports)))), ()


ROW = Row("mtls", Mtls, read_spec("mtls"), build)


def named(applied: Applied) -> MeshMtls:
    """The section with its policy's name. Only of one that is not closed."""
    reference = applied.origin.reference
    section: MeshMtls = applied.value
    return msgspec.structs.replace(section, policy=f"{reference.namespace}/{reference.name}")


def strictest(one: MeshMtls, other: MeshMtls) -> MeshMtls:
    """Two Services at one level: the stricter mode (of equals the first), and only the ports that both leave out."""
    stricter = other if RANK[other.mode] > RANK[one.mode] else one
    both = tuple(port for port in one.except_ports if port in other.except_ports)
    return msgspec.structs.replace(stricter, except_ports=both)


def effective(levels: Iterable[MeshMtls | None]) -> MeshMtls | None:
    """What holds at the end of a chain. `levels`: Mesh first, then ever more specific, each `strictest` already.

    The most specific section replaces the others, but it cannot be weaker than the mesh's: then the mesh's mode holds,
    and the ports that the more specific one leaves out are left out.
    """
    mesh, *others = levels
    found = [section for section in others if section is not None]
    if not found:
        return mesh
    specific = found[-1]
    if mesh is not None and RANK[mesh.mode] > RANK[specific.mode]:
        return msgspec.structs.replace(mesh, except_ports=specific.except_ports)
    return specific


def spec(section: MeshMtls | None) -> MtlsSpec:
    """As sent."""
    if section is None:
        return MtlsSpec()
    return MtlsSpec(mode=section.mode, except_ports=section.except_ports, policy=section.policy)


def weaker(attachments: Attachments) -> Iterator[Problem]:
    """Sections that ask for less than the mesh does: told, and the mesh's mode holds."""
    held = attachments.table.get(ROW.name, {})
    whole = next((each for each in held.get(MESH, ()) if each.value is not None), None)
    if whole is None:
        return
    for scope, applied in sorted(held.items()):
        for each in applied:
            if each.value is None or scope == MESH or RANK[each.value.mode] >= RANK[whole.value.mode]:
                continue
            message = (
                f"{each.value.mode} on {scope} is weaker than the mesh's {whole.value.mode} "
                f"({whole.origin.reference}), which holds: only exceptPorts leave ports out"
            )
            yield Problem(
                reference=each.origin.reference,
                field="spec.mtls.mode",
                reason="Overridden",
                message=message,
                section=ROW.name,
                severity="Warning",
            )
