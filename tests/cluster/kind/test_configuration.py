"""What kind is told, read as data: no engine is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cluster.kind import configuration


@pytest.mark.parametrize(
    ("version", "image"),
    [
        ("", ""),
        ("1.30", "kindest/node:v1.30.13"),
        ("v1.36", "kindest/node:v1.36.1"),
        ("1.31.4", "kindest/node:v1.31.4"),
        ("v1.99.1", "kindest/node:v1.99.1"),
    ],
)
def test_node_images(version: str, image: str) -> None:
    assert configuration.node_image(version) == image


@pytest.mark.parametrize(
    ("version", "reason"),
    [("latest", "no Kubernetes version"), ("1.29", "older than 1.30"), ("1.99", "name one in full"), ("1", "such as")],
)
def test_what_is_no_version_is_told(version: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        configuration.node_image(version)


def test_every_minor_version_from_the_oldest_on_has_an_image() -> None:
    minors = sorted(tuple(map(int, minor.split("."))) for minor in configuration.NODE_IMAGES)
    assert minors == [(1, minor) for minor in range(configuration.OLDEST[1], minors[-1][1] + 1)]
    assert all(full.startswith(f"v{minor}.") for minor, full in configuration.NODE_IMAGES.items())


@pytest.mark.parametrize(("dual", "family"), [(True, "dual"), (False, "ipv4")])
def test_nodes_and_addresses(dual: bool, family: str) -> None:
    document = yaml.safe_load(configuration.render(3, "1.36", dual=dual))
    assert (document["kind"], document["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert [node["role"] for node in document["nodes"]] == ["control-plane", "worker", "worker"]
    assert {node["image"] for node in document["nodes"]} == {"kindest/node:v1.36.1"}
    assert document["networking"] == {"ipFamily": family}
    patch = yaml.safe_load(document["nodes"][0]["kubeadmConfigPatches"][0])
    assert patch == {"kind": "InitConfiguration", "nodeRegistration": {"taints": []}}


def test_without_a_version_kind_takes_its_own_image() -> None:
    document = yaml.safe_load(configuration.render(1, "", dual=False))
    assert [set(node) for node in document["nodes"]] == [{"role", "kubeadmConfigPatches"}]


@pytest.mark.parametrize(("version", "patched"), [("1.30", True), ("1.31", True), ("1.32", False), ("", False)])
def test_old_node_images_are_told_where_registries_are_described(version: str, patched: bool) -> None:
    document = yaml.safe_load(configuration.render(1, version, dual=False))
    assert ("containerdConfigPatches" in document) is patched


def test_commands() -> None:
    kind = Path("/bin/kind")
    create = configuration.create(kind, "c", Path("/c.yaml"), Path("/kubeconfig"))
    assert create[:4] == ["/bin/kind", "create", "cluster", "--name=c"]
    assert {"--config=/c.yaml", "--kubeconfig=/kubeconfig"} <= set(create)
    assert configuration.delete(kind, "c", Path("/k")) == [
        "/bin/kind",
        "delete",
        "cluster",
        "--name=c",
        "--kubeconfig=/k",
    ]
    assert configuration.load(kind, "c", Path("/a.tar"))[1:3] == ["load", "image-archive"]


def test_a_registry_is_trusted_over_plain_http() -> None:
    path, content = configuration.trust("172.18.0.1:5000")
    assert path == "/etc/containerd/certs.d/172.18.0.1:5000/hosts.toml"
    assert 'server = "http://172.18.0.1:5000"' in content
