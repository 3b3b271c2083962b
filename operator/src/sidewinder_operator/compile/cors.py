"""Section `cors`: origins as browsers write them. `policies` asks for what is sent."""

from __future__ import annotations

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.cors import MeshCors
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.cors import Cors, CorsFilter
from sidewinder_sidecar.snapshot.policies import CorsSpec

OWN_PORTS = {"http": ":80", "https": ":443"}  # no browser writes them


def build(written: Cors, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant; nothing needs another object."""
    return meant(written), ()


def meant(written: Cors | CorsFilter) -> MeshCors:
    """The same of a rule's filter."""
    return MeshCors(
        allow_origins=tuple(dict.fromkeys(_spelled(origin) for origin in written.allow_origins)),
        allow_methods=written.allow_methods,
        allow_headers=written.allow_headers,
        expose_headers=written.expose_headers,
        allow_credentials=written.allow_credentials,
        max_age=written.max_age,
    )


def _spelled(origin: str) -> str:
    return origin.removesuffix(OWN_PORTS.get(origin.partition(":")[0], "\n"))


def spec(section: MeshCors, policy: str) -> CorsSpec:
    """As sent."""
    return CorsSpec(
        policy=policy,
        allow_origins=section.allow_origins,
        allow_methods=section.allow_methods,
        allow_headers=section.allow_headers,
        expose_headers=section.expose_headers,
        allow_credentials=section.allow_credentials,
        max_age=section.max_age,
    )


ROW = Row("cors", Cors, read_spec("cors"), build)
