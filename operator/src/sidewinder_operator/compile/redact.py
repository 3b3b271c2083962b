"""Section `redact`: what several levels hide adds up. `policies` asks for what is sent."""

from __future__ import annotations

from collections.abc import Iterable

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.redact import MeshRedact
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.redact import Redact
from sidewinder_sidecar.snapshot.policies import RedactSpec


def build(written: Redact, _: Cluster, _namespace: str = "") -> Built:
    """The section as meant; nothing needs another object."""
    return MeshRedact(headers=_names(written.headers), query=_names(written.query_params)), ()


def spec(sections: Iterable[MeshRedact]) -> RedactSpec | None:
    """As sent: all of them together; None if nothing is to hide."""
    found = tuple(sections)
    headers = _names(name for section in found for name in section.headers)
    query = _names(name for section in found for name in section.query)
    return RedactSpec(headers=headers, query=query) if headers or query else None


def _names(written: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name.lower() for name in written}))


ROW = Row("redact", Redact, read_spec("redact"), build)
