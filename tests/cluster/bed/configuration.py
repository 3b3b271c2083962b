"""The files that a bed's programs read: certificates, kubeconfigs, the settings of containerd, kubelet and the rest.

Called by bed.py before the first node starts; calls certificates.py and layout.py. Everything is written as JSON,
which Kubernetes reads as YAML.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from tests.cluster.bed import certificates
from tests.cluster.bed.certificates import Authority
from tests.cluster.bed.components import CONTAINERD, KUBERNETES, METRICS
from tests.cluster.bed.layout import Layout

MANIFESTS = Path(__file__).with_name("manifests")
SMALL_CNI = ("host-local", "loopback", "portmap", "ptp")

# restrict_oom_score_adj: without CAP_SYS_RESOURCE nothing may lower the score, and every container would fail.
_CONTAINERD = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "bed.local/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"""


def write(layout: Layout) -> None:
    """Everything that does not depend on a node, then each node's own."""
    for name in ("bin", "logs", "nodes", "pki"):
        (layout.directory / name).mkdir()
    layout.pki.chmod(0o700)
    for name in (*KUBERNETES, "kubectl"):
        (layout.bin / name).symlink_to(layout.tool("kubernetes"))
    for name in ("metrics-server", "helm", "crane"):
        (layout.bin / name).symlink_to(layout.tool(name))
    _identities(layout)
    for number in layout.numbers:
        _node(layout, number)


def _identities(layout: Layout) -> None:
    pki = layout.pki
    authority, front = Authority(pki, "ca"), Authority(pki, "front-proxy-ca")
    certificates.service_account_keys(pki)
    own = [layout.address(1, family) for family in layout.families]
    own += [layout.service(1, family) for family in layout.families]
    names = ["kubernetes" + suffix for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
    authority.issue("apiserver", "kube-apiserver", *own, "127.0.0.1", "localhost", *names)
    authority.issue("kubelet-client", "kube-apiserver", group="system:masters")
    authority.issue("metrics-server", "metrics-server", "metrics-server.kube-system.svc")
    front.issue("front-proxy-client", "front-proxy-client")
    users = [
        (layout.directory / "kubeconfig", "admin", "system:masters"),
        (pki / "metrics-server.conf", "metrics-server", "system:masters"),
        (pki / "load-balancer.conf", "load-balancer", "system:masters"),
        (pki / "controller-manager.conf", "system:kube-controller-manager", "system:authenticated"),
        (pki / "scheduler.conf", "system:kube-scheduler", "system:authenticated"),
        (pki / "kube-proxy.conf", "system:kube-proxy", "system:authenticated"),
    ]
    for number in layout.numbers:
        addresses = [layout.address(number, family) for family in layout.families]
        authority.issue(f"node{number}", f"node{number}", f"node{number}", *addresses)
        users.append((pki / f"node{number}.conf", f"system:node:node{number}", "system:nodes"))
    for path, user, group in users:
        certificates.kubeconfig(pki, path, layout.server, user, group)


def _node(layout: Layout, number: int) -> None:
    own = layout.node(number)
    for name in ("var/lib", "var/log", "opt/cni/bin", "etc/cni/net.d", "etc/containerd/certs.d", "work", "config"):
        (own / name).mkdir(parents=True)
    layout.log(number, "").parent.mkdir(parents=True)
    for plugin in SMALL_CNI:
        shutil.copy(Path(layout.tool("cni")) / plugin, own / "opt/cni/bin")
    config = own / "config"
    shutil.copy(layout.tool("six"), own / "opt/cni/bin/six")
    (config / "containerd.toml").write_text(_CONTAINERD)
    (config / "resolv.conf").write_text("")  # dnsPolicy Default: there is nobody outside to ask
    (own / "etc/hosts").write_text(f"127.0.0.1 localhost\n{layout.address(number)} node{number}\n")
    for path, content in (
        (own / "etc/cni/net.d/10-bed.conflist", _network(layout, number)),
        (config / "kubelet.json", _kubelet(layout, number)),
        (config / "kube-proxy.json", _proxy(layout, number)),
        (config / "audit.json", _audit()),
    ):
        path.write_text(json.dumps(content, indent=1))


def _network(layout: Layout, number: int) -> dict[str, Any]:
    # Leases under /run: after a power loss no pod is left that would hold one.
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": layout.pods(number)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins: list[dict[str, Any]] = [{"type": "ptp", "ipam": addresses}]
    if 6 in layout.families:
        plugins.append({"type": "six", "subnet": layout.pods(number, 6)})
    plugins.append({"type": "portmap", "capabilities": {"portMappings": True}})
    return {"cniVersion": "1.0.0", "name": "bed", "plugins": plugins}


def _kubelet(layout: Layout, number: int) -> dict[str, Any]:
    pki = layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "resolvConf": str(layout.node(number) / "config/resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/plugins/exec",
        "nodeLeaseDurationSeconds": 12,  # with the controller manager's 20 s: a dead node is NotReady within 25 s
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "10s",  # projected ConfigMaps and Secrets reach the pods sooner than within a minute
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [layout.service(10)],
        "clusterDomain": "cluster.local",
        "tlsCertFile": str(pki / f"node{number}.crt"),
        "tlsPrivateKeyFile": str(pki / f"node{number}.key"),
        "imageGCHighThresholdPercent": 100,  # the machine's disk is shared: never throw images away for it
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
    }


def _proxy(layout: Layout, number: int) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": layout.proxy,
        "clientConnection": {"kubeconfig": str(layout.pki / "kube-proxy.conf")},
        "clusterCIDR": ",".join(layout.all_pods(family) for family in layout.families),
        "hostnameOverride": f"node{number}",
        "oomScoreAdj": 0,
        # Zeros keep it off the connection tracking limits, which belong to the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _audit() -> dict[str, Any]:
    """Who did what and when; reading leases and events is noise."""
    quiet = [{"group": "coordination.k8s.io", "resources": ["leases"]}, {"group": "", "resources": ["events"]}]
    rules = [{"level": "None", "resources": quiet}, {"level": "Metadata", "omitStages": ["RequestReceived"]}]
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}


def manifests(layout: Layout) -> str:
    """What the cluster itself consists of: DNS and the registration of the metrics API."""
    authority = base64.b64encode((layout.pki / "ca.crt").read_bytes()).decode()
    values = {
        "DNS_ADDRESS": layout.service(10),
        "NODE_ADDRESS": layout.address(1),
        "METRICS_PORT": str(METRICS),
        "AUTHORITY": authority,
    }
    text = "\n---\n".join(path.read_text() for path in sorted(MANIFESTS.glob("*.yaml")))
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text
