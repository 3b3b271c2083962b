"""Fixtures of the bed's own tests: the session's bed, and a namespace with pods to talk between.

They need nothing but the bed: its image bed.local/probe:1 holds one small program and nft.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.bed import archives
from tests.cluster.bed import bed as testbed
from tests.cluster.bed.bed import Bed
from tests.cluster.bed.probes import Probes


@pytest.fixture(scope="session")
def bed_possible() -> None:
    """Tells why no bed can run here, for the tests that make one of their own."""
    if reason := testbed.impediment():
        pytest.skip(f"no test bed on this machine: {reason}")


@pytest.fixture(scope="session")
def shared_bed(cluster: object) -> Iterator[Bed]:
    """The session's cluster, two nodes. In the end nothing may have died that was not told to."""
    if not isinstance(cluster, Bed):
        pytest.skip("these tests are about the bed; this session's cluster is kind")
    cluster.load(archives.probe())
    yield cluster
    deaths = cluster.deaths()
    assert not deaths, "\n".join(deaths)


@pytest.fixture
def probes(shared_bed: Bed, request: pytest.FixtureRequest) -> Iterator[Probes]:
    """A fresh namespace and what can be done in it; deleted in the background."""
    name = request.node.name.replace("_", "-").replace("[", "-").strip("]")[-40:].strip("-").lower()
    with Probes.open(shared_bed, name) as opened:
        yield opened
