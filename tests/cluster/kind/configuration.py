"""What kind is told: the cluster's configuration, the node image of a Kubernetes version, and command lines.

Called by kind.py and engine.py; calls nothing, so all of it is tested where no engine runs.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

# The module's version; `go install` puts the program into the user's cache folder.
VERSION = "v0.33.0"
MODULE = "sigs.k8s.io/kind"
NAME = "sidewinder"
# The last node image of each minor version that kind's releases name. Another: CLUSTER_VERSION=1.34.3.
NODE_IMAGES = {
    "1.30": "v1.30.13",
    "1.31": "v1.31.12",
    "1.32": "v1.32.8",
    "1.33": "v1.33.4",
    "1.34": "v1.34.0",
    "1.35": "v1.35.0",
    "1.36": "v1.36.1",
    "1.37": "v1.37.0",
}
OLDEST = (1, 30)
CERTIFICATES = "/etc/containerd/certs.d"
# Node images made before containerd 2 look for registries' settings only when told where.
REGISTRY_PATCH = f'[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "{CERTIFICATES}"\n'


def node_image(version: str) -> str:
    """The image for `1.31`, `1.31.4` or `v1.31.4`; nothing, kind's own newest, for no version."""
    if not version:
        return ""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\.\d+)?", version)
    if not found:
        raise ValueError(f"CLUSTER_VERSION={version} is no Kubernetes version such as 1.31 or 1.31.4")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise ValueError(f"CLUSTER_VERSION={version} is older than {OLDEST[0]}.{OLDEST[1]}, the oldest supported")
    minor = f"{found[1]}.{found[2]}"
    if not found[3] and minor not in NODE_IMAGES:
        raise ValueError(f"no node image is known for {minor}; name one in full, as in CLUSTER_VERSION={minor}.0")
    return "kindest/node:" + (f"v{minor}{found[3]}" if found[3] else NODE_IMAGES[minor])


def render(nodes: int, version: str, *, dual: bool) -> str:
    """One control plane, the rest workers. The control plane's taint falls: every node of the bed works, too."""
    image = node_image(version)
    chosen = {"image": image} if image else {}
    first = {
        "role": "control-plane",
        **chosen,
        "kubeadmConfigPatches": ["kind: InitConfiguration\nnodeRegistration:\n  taints: []\n"],
    }
    document = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"ipFamily": "dual" if dual else "ipv4"},
        "nodes": [first, *({"role": "worker", **chosen} for _ in range(nodes - 1))],
    }
    if image and tuple(map(int, image.partition(":v")[2].split(".")[:2])) < (1, 32):
        document["containerdConfigPatches"] = [REGISTRY_PATCH]
    return yaml.safe_dump(document, sort_keys=False)


def create(kind: Path, name: str, configuration: Path, kubeconfig: Path) -> list[str]:
    options = [f"--config={configuration}", f"--kubeconfig={kubeconfig}", "--wait=180s"]
    return [str(kind), "create", "cluster", f"--name={name}", *options]


def delete(kind: Path, name: str, kubeconfig: Path) -> list[str]:
    return [str(kind), "delete", "cluster", f"--name={name}", f"--kubeconfig={kubeconfig}"]


def load(kind: Path, name: str, archive: Path) -> list[str]:
    return [str(kind), "load", "image-archive", f"--name={name}", str(archive)]


def trust(registry: str) -> tuple[str, str]:
    """The file on a node that makes containerd speak plain HTTP to this registry, and what it says."""
    content = f'server = "http://{registry}"\n[host."http://{registry}"]\n  capabilities = ["pull", "resolve"]\n'
    return f"{CERTIFICATES}/{registry}/hosts.toml", content
