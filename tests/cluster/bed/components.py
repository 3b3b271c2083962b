"""Which programs run on a node, when each may start, and its arguments.

Called by the supervisor, which is a node's first process; calls layout.py. Nothing here starts anything.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from tests.cluster.bed.layout import Layout

ETCD = 2379
METRICS = 4443
CONTAINERD = "/run/containerd/containerd.sock"
API = "api"


class Component(NamedTuple):
    """A program, and what must be there first: nothing, a socket's path, a local port, or a ready API server."""

    program: str
    arguments: list[str]
    needs: str | int | None = None


def _etcd(_: Layout) -> Component:
    clients = f"http://127.0.0.1:{ETCD}"
    return Component(
        "etcd",
        [
            "--data-dir=/var/lib/etcd",
            "--unsafe-no-fsync",  # the machine's power will not fail within a test
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
        ],
    )


def _apiserver(layout: Layout) -> Component:
    pki = layout.pki
    arguments = {
        "etcd-servers": f"http://127.0.0.1:{ETCD}",
        "secure-port": 6443,
        "advertise-address": layout.address(1),
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "token-auth-file": pki / "tokens.csv",
        "authorization-mode": "Node,RBAC",
        "allow-privileged": "true",
        "enable-admission-plugins": "NodeRestriction",
        "service-cluster-ip-range": ",".join(layout.services(family) for family in layout.families),
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "kubelet-client-certificate": pki / "kubelet-client.crt",
        "kubelet-client-key": pki / "kubelet-client.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": pki / "front-proxy-client.crt",
        "proxy-client-key-file": pki / "front-proxy-client.key",
        "audit-policy-file": layout.node(1) / "config/audit.json",
        "audit-log-path": layout.log(1, "audit"),
        "audit-log-maxsize": 100,  # megabytes; a long test run must not fill the disk
        "audit-log-maxbackup": 2,
    }
    return Component("kube-apiserver", [f"--{key}={value}" for key, value in arguments.items()], ETCD)


def _controllers(layout: Layout) -> Component:
    pki = layout.pki
    return Component(
        "kube-controller-manager",
        [
            f"--kubeconfig={pki}/controller-manager.conf",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--use-service-account-credentials",
            "--kube-api-qps=200",  # one client per controller: the default limits cost 5 s at the start
            "--kube-api-burst=400",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--node-monitor-grace-period=20s",  # a dead node is noticed within a test's patience
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
            "--flex-volume-plugin-dir=/var/lib/kubelet/plugins/exec",
        ],
        API,
    )


def _scheduler(layout: Layout) -> Component:
    config = f"--kubeconfig={layout.pki}/scheduler.conf"
    return Component("kube-scheduler", [config, "--leader-elect=false", "--bind-address=127.0.0.1"], API)


def _metrics(layout: Layout) -> Component:
    pki = layout.pki
    config = pki / "metrics-server.conf"
    return Component(
        "metrics-server",
        [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--secure-port={METRICS}",
            f"--tls-cert-file={pki}/metrics-server.crt",
            f"--tls-private-key-file={pki}/metrics-server.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",  # the least it accepts
            "--kubelet-request-timeout=5s",  # must be less
        ],
        API,
    )


def _balancer(layout: Layout) -> Component:
    program = Path(__file__).with_name("loadbalancer.py")
    return Component("load-balancer", ["-P", "-S", str(program), str(layout.directory)], API)


def _containerd(layout: Layout, number: int) -> Component:
    return Component("containerd", [f"--config={layout.node(number)}/config/containerd.toml"])


def _kubelet(layout: Layout, number: int) -> Component:
    addresses = ",".join(layout.address(number, family) for family in layout.families)
    return Component(
        "kubelet",
        [
            f"--config={layout.node(number)}/config/kubelet.json",
            f"--kubeconfig={layout.pki}/node{number}.conf",
            f"--node-ip={addresses}",
            f"--hostname-override=node{number}",
        ],
        CONTAINERD,
    )


def _proxy(layout: Layout, number: int) -> Component:
    return Component("kube-proxy", [f"--config={layout.node(number)}/config/kube-proxy.json"], API)


CONTROL = (_etcd, _apiserver, _controllers, _scheduler, _metrics, _balancer)
WORKER = (_containerd, _kubelet, _proxy)
KUBERNETES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")


def of(layout: Layout, number: int) -> list[Component]:
    """The components of node `number`; the first node carries the control plane too."""
    control = [make(layout) for make in CONTROL] if number == 1 else []
    return control + [make(layout, number) for make in WORKER]


def executable(layout: Layout, component: Component) -> str:
    """Links in the bed's folder give every component its own name in the list of processes."""
    if component.program == "containerd":
        return layout.tool("containerd")
    return sys.executable if component.program == "load-balancer" else str(layout.bin / component.program)
