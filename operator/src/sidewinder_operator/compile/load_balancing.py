"""Section `loadBalancing`: what is written says all of it."""

from __future__ import annotations

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.load_balancing import LoadBalancing


def build(written: LoadBalancing, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant."""
    return MeshLoadBalancing(algorithm=written.type), ()


ROW = Row("loadBalancing", LoadBalancing, read_spec("loadBalancing"), build)
