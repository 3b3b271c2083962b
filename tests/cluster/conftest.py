"""The fixtures of tests on a real cluster, and what a failed one reports.

Called by pytest; calls support/, images/, and through them the test bed or kind. CLUSTER says which (bed, kind,
running); CLUSTER_VERSION says which Kubernetes on kind.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

from tests.cluster.images import registry as registries
from tests.cluster.images.build import Built, build, build_with
from tests.cluster.images.catalog import ALL
from tests.cluster.kind.engine import find
from tests.cluster.support import cluster as clusters
from tests.cluster.support import report
from tests.cluster.support.chart import NAMESPACE
from tests.cluster.support.mesh import ENABLED, Mesh
from tests.cluster.support.namespace import Namespace, name_for
from tests.cluster.support.objects import Objects
from tests.cluster.support.traffic import Load

CHOICE = pytest.StashKey[clusters.Choice]()
NOT_RUN = pytest.StashKey[int]()
MESH = pytest.StashKey[Mesh]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no cluster can run, its tests are counted and the reason is told; where one was named, that is an error."""
    concerned = [item for item in items if item.get_closest_marker("cluster")]
    if not concerned or CHOICE in config.stash:
        return
    choice = config.stash[CHOICE] = clusters.choose(os.environ)
    if choice.name:
        return
    if wanted := os.environ.get("CLUSTER"):
        raise pytest.UsageError(f"CLUSTER={wanted} cannot run here: {choice.reason}")
    config.stash[NOT_RUN] = len(concerned)
    for item in concerned:
        item.add_marker(pytest.mark.skip(reason="no cluster can run here"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    count = config.stash.get(NOT_RUN, 0)
    if count:
        terminalreporter.section("cluster tests: NOT RUN", sep="=", red=True)
        terminalreporter.line(f"{count} tests on a real cluster were not run: {config.stash[CHOICE].reason}")
        terminalreporter.line(
            "docs/development.md says what a cluster needs; CLUSTER=bed or CLUSTER=kind insists on one"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The tests that ask for the mesh share one; all others have a cluster without."""
    mesh = item.config.stash.get(MESH, None)
    if mesh is not None and item.get_closest_marker("cluster"):
        if getattr(item, "execution_count", 1) > 1:
            mesh.remove()  # a second try does not begin on what the first one has broken
        (mesh.ensure if "mesh" in getattr(item, "fixturenames", ()) else mesh.remove)()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test tells what happened in its namespace."""
    result = yield
    if result.failed and result.when != "teardown":
        used = getattr(item, "funcargs", {})
        places = {(value.cluster, value.name) for value in used.values() if isinstance(value, Namespace)}
        if "mesh" in getattr(item, "fixturenames", ()) and (mesh := item.config.stash.get(MESH, None)):
            places.add((mesh.cluster, NAMESPACE))
        for where in places:
            result.sections.extend(report.sections(*where))
    return result


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[clusters.Cluster]:
    """A cluster of two nodes for all tests: the bed, kind, or one that was running."""
    choice = request.config.stash[CHOICE]
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            print(line, flush=True)

    found = clusters.start(choice, say, os.environ)
    earlier = found.deaths()
    try:
        yield found
        deaths = [death for death in found.deaths() if death not in earlier]
    finally:
        if choice.name != "running":
            found.stop()
    assert not deaths, "components ended that nobody had asked to:\n" + "\n".join(deaths)


@pytest.fixture(scope="session")
def configuration(cluster: clusters.Cluster) -> Configuration:
    """For clients of one's own."""
    settings = Configuration()
    load_kube_config(str(cluster.kubeconfig), client_configuration=settings)
    return settings


@pytest.fixture(scope="session")
def objects(configuration: Configuration, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Objects]:
    with ApiClient(configuration) as api:
        yield Objects(api, tmp_path_factory.mktemp("discovery") / "kinds.json")


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest) -> Callable[[str], Built]:
    """An image of the catalog by its name, built if its inputs changed: by the engine where kind runs."""
    engine = find()[0] if request.config.stash[CHOICE].name == "kind" else None
    return functools.cache(lambda name: build_with(engine, ALL[name]) if engine else build(ALL[name]))


@pytest.fixture(scope="session")
def images(cluster: clusters.Cluster, built: Callable[[str], Built]) -> Callable[[str], str]:
    """The reference of an image that all nodes have."""

    def load(name: str) -> str:
        made = built(name)
        cluster.load(made.archive)
        return made.reference

    return functools.cache(load)


@pytest.fixture(scope="session")
def registry(cluster: clusters.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a registry that this machine and the nodes reach."""
    with registries.serve(cluster.bin / "crane", cluster.host, tmp_path_factory.mktemp("registry")) as address:
        cluster.trust_registry(address)
        yield address


@pytest.fixture(scope="session")
def namespaces(
    request: pytest.FixtureRequest,
    cluster: clusters.Cluster,
    objects: Objects,
    configuration: Configuration,
    images: Callable[[str], str],
) -> Iterator[Callable[..., Namespace]]:
    """Makes namespaces; on a cluster that stays, waits in the end until all of them have gone."""
    made: list[Namespace] = []

    def make(name: str, labels: dict[str, str] | None = None) -> Namespace:
        made.append(Namespace(name_for(name), cluster, objects, configuration, images, labels))
        return made[-1]

    yield make
    if request.config.stash[CHOICE].name == "running":
        for namespace in made:
            objects.wait_gone("Namespace", namespace.name, "", 120)


@pytest.fixture
def namespace(request: pytest.FixtureRequest, namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    """Fresh, labelled, and deleted afterwards. One with labels of its own: `namespaces(name, {"a/b": "c"})`."""
    with namespaces(request.node.name) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def mesh(request: pytest.FixtureRequest, cluster: clusters.Cluster, built: Callable[[str], Built]) -> Iterator[Mesh]:
    """Sidewinder itself, installed by Helm."""
    found = request.config.stash[MESH] = Mesh(cluster, built)
    found.ensure()  # what fails here stays for the report, and is taken away before the next test without a mesh
    yield found
    found.remove()


@pytest.fixture
def injected(request: pytest.FixtureRequest, mesh: Mesh, namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    """As `namespace`, and every pod in it gets a proxy."""
    with namespaces(request.node.name, ENABLED) as fresh:
        yield fresh


@pytest.fixture
def apply(namespace: Namespace) -> Callable[..., list[Any]]:
    return namespace.apply


@pytest.fixture
def wait_for(namespace: Namespace) -> Callable[..., Any]:
    return namespace.wait_for


@pytest.fixture
def logs(namespace: Namespace) -> Callable[..., str]:
    return namespace.logs


@pytest.fixture
def run_in_pod(namespace: Namespace) -> Callable[..., str]:
    return namespace.run_in_pod


@pytest.fixture
def load(namespace: Namespace) -> Callable[..., Load]:
    """`load(url, requests=1000)` is a load client in a pod; its keywords are the fields of apps/load.py's Job."""
    numbers = itertools.count(1)

    def start(url: str, *, labels: dict[str, str] | None = None, **job: Any) -> Load:
        return Load(namespace, f"load-{next(numbers)}", {"url": url} | job, labels or {})

    return start
