"""A real Kubernetes cluster on one Linux machine, without a container engine: the API that tests use.

    from tests.cluster.bed import bed as testbed
    cluster = testbed.start(nodes=2, owner=True)     # gone with this process, however that ends; about 10 s
    cluster.stop()

Called by cli.py (`make cluster-up`) and the tests; calls configuration.py, nodes.py and faults.py. Stable:

start(nodes=2, *, directory=None, identity=None, owner=False, proxy="iptables", families=None, say=print) -> Bed
    Installs packages, builds programs, makes and waits for the cluster. Raises BedError with the last log lines.
    identity None: the first free of 14 beds. families None: (4, 6) if the kernel has IPv6, else (4,).
attach(directory=None) -> Bed   one that is running, by default that of `make cluster-up`
impediment() -> str | None      why no bed can run here, or None

Bed     .kubeconfig, .bin (folder of kubectl, helm, crane), .host (the machine's address as pods and nodes see it),
        .families, .directory, .nodes, .node(2 or "node2"), .stop()
        .kubectl(*arguments, text=None) -> str         the output; BedError if it fails
        .environment() -> dict                         for programs of one's own: KUBECONFIG and PATH set
        .load(*archives, nodes=None)                   OCI or docker archives into the nodes' containerd
        .trust_registry("198.18.255.1:5000")           the nodes pull from it over plain HTTP
        .logs("kube-apiserver", node=1) -> str         .audit_log: Path      .save_logs(folder)
        .deaths() -> list[str]                         components that ended although nobody asked, with last log lines
        .component("kube-apiserver") -> Component      of node1; .node(2).component("kubelet")
        .restart("etcd")                               killed, and ready again
        .slow_api(0.3)                                 context manager: answers are held for up to 0.3 s
        .aged_certificate("apiserver", begin, end)     context manager: timedeltas from now, e.g. expired: -2 h, -1 h
                                                       (of pki/: apiserver, front-proxy-client, metrics-server, nodeN)
        .wait_ready(), .wait_metrics()
Node    .name, .number, .address, .addresses, .run(*command) -> str, .command(*command) -> list[str]
        .kill(), .boot(), .running                     power loss and power on; what is on its disk stays
        .partition()                                   context manager: nothing to or from the node; .cut(), .heal()
        .small_disk(megabytes) -> Disk                 .path for a hostPath volume, .fill(), .free(), .remove()
Component .stop(), .start(), .kill(), .pause(), .resume(), .running, .pid
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.cluster.bed import archives, configuration, machine, nodes, packages, toolchain
from tests.cluster.bed.client import Api
from tests.cluster.bed.faults import Faults, Node
from tests.cluster.bed.layout import BEDS, NODES, ROOT, Layout
from tests.cluster.bed.logs import tail
from tests.cluster.bed.readiness import dns_answers, failures, node_ready
from tests.cluster.bed.waiting import BedError, Say, run, started, until

__all__ = ["Bed", "BedError", "Node", "attach", "impediment", "start"]


class Bed(Faults):
    """A cluster that runs, or did."""

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def bin(self) -> Path:
        return self.layout.bin

    @property
    def host(self) -> str:
        return self.layout.host()

    @property
    def families(self) -> tuple[int, ...]:
        return self.layout.families

    @property
    def audit_log(self) -> Path:
        return self.layout.log(1, "audit")

    def environment(self) -> dict[str, str]:
        path = f"{self.bin}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def kubectl(self, *arguments: object, text: str | None = None, seconds: float = 120) -> str:
        return run(self.bin / "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments, text=text, seconds=seconds)

    def load(self, *images: Path | str, nodes: Sequence[Node] | None = None) -> None:
        """Into all nodes at the same time."""
        jobs = [(node, image, self._import(node, image)) for image in images for node in nodes or self.nodes]
        errors = [
            f"{node.name}, {image}: {output.strip()}"
            for node, image, job in jobs
            if (output := job.communicate()[0]) is not None and job.returncode
        ]
        if errors:
            raise BedError("\n".join(["import of images failed", *errors]))

    @staticmethod
    def _import(node: Node, image: Path | str) -> subprocess.Popen[str]:
        """Through a pipe: the archive may lie where a node has folders of its own."""
        with open(image, "rb") as archive:
            command = node.command("ctr", "--namespace=k8s.io", "images", "import", "-")
            return subprocess.Popen(command, stdin=archive, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def trust_registry(self, registry: str) -> None:
        for node in self.nodes:
            folder = self.layout.node(node.number) / "etc/containerd/certs.d" / registry
            content = (
                f'server = "http://{registry}"\n[host."http://{registry}"]\n  capabilities = ["pull", "resolve"]\n'
            )
            node.run("sh", "-c", 'mkdir -p "$0" && printf %s "$1" > "$0/hosts.toml"', _etc(folder), content)

    def logs(self, component: str, node: int = 1) -> str:
        return self.layout.log(node, component).read_text(errors="replace")

    def save_logs(self, folder: Path) -> None:
        shutil.copytree(self.directory / "logs", folder, dirs_exist_ok=True)

    def deaths(self) -> list[str]:
        return failures(self.layout)

    def wait_ready(self, seconds: float = 60) -> None:
        for node in self.nodes:
            until(f"{node.name} Ready", lambda node=node: node_ready(self.api, node.name), seconds)

    def wait_metrics(self, seconds: float = 90) -> None:
        """Metrics need two looks at every node, ten seconds apart."""
        path = "/apis/metrics.k8s.io/v1beta1/nodes"
        until("metrics of all nodes", lambda: len(self.api.get(path)["items"]) == len(self.nodes), seconds, 0.3)

    def stop(self) -> None:
        nodes.remove(self.directory)


def _etc(folder: Path) -> str:
    """The path inside a node of something in the upper layer of its /etc."""
    parts = folder.parts
    return "/" + "/".join(parts[parts.index("etc") :])


def default_directory() -> Path:
    """Of the bed that `make cluster-up` makes."""
    return toolchain.cache().parent / "bed"


def attach(directory: Path | None = None) -> Bed:
    directory = (directory or default_directory()).resolve()
    if not (directory / "bed.json").exists():
        raise BedError(f"{directory}: there is no bed")
    return Bed(Layout.load(directory))


def impediment() -> str | None:
    """Why no bed can run here: what is missing and what would help."""
    if not Path("/proc/self/ns").is_dir():
        return "this is not Linux; CLUSTER=kind runs the tests on kind"
    if os.geteuid() != 0:
        return "root is needed for namespaces, mounts and cgroups (run as root, or CLUSTER=kind with docker or podman)"
    lacking = packages.missing()
    if lacking and not packages.installable():
        return packages.advice(lacking)
    if shutil.which("go") is None and not all(map(toolchain.built, toolchain.PROGRAMS)):
        return "the Go client is not installed: Kubernetes is built with it (Go 1.26 or newer)"
    return None


def start(
    nodes: int = 2,
    *,
    directory: Path | None = None,
    identity: int | None = None,
    owner: bool = False,
    proxy: str = "iptables",
    families: tuple[int, ...] | None = None,
    say: Say = print,
) -> Bed:
    """A new cluster, ready to be used; see the top of this file."""
    if reason := impediment():
        raise BedError(reason)
    if nodes not in NODES or identity not in (None, *BEDS):
        raise BedError(f"a bed has {NODES[0]} to {NODES[-1]} nodes, and beds are numbered {BEDS[0]} to {BEDS[-1]}")
    layout = _layout(nodes, directory, identity, owner, proxy, families, say)
    try:
        _up(layout, say)
    except BaseException as error:
        if owner or isinstance(error, KeyboardInterrupt):
            _remove(layout.directory)  # nobody will call stop()
        raise  # without an owner the pieces of a failure stay for whoever wants to look
    return Bed(layout)


def _remove(directory: Path) -> None:
    nodes.remove(directory)


def _layout(
    count: int,
    directory: Path | None,
    identity: int | None,
    owner: bool,
    proxy: str,
    families: tuple[int, ...] | None,
    say: Say,
) -> Layout:
    """Programs first: building takes minutes, and nothing is taken before they are there."""
    packages.ensure(say=say)
    tools = {name: str(toolchain.tool(name, say)) for name in toolchain.PROGRAMS}
    tools |= {"containerd": packages.location("containerd"), "cni": str(packages.CNI)}
    if taken := nodes.reclaim():
        say(f"removed what beds without an owner had left: {', '.join(map(str, taken))}")
    directory = Path(directory or tempfile.mkdtemp(prefix="sidewinder-bed-")).resolve()
    for path in (directory, ROOT, *map(Path, tools.values())):
        if machine.hidden(path) and path.name not in ("cni", "containerd"):
            raise BedError(f"{path}: the nodes have {', '.join(machine.HIDDEN)} of their own and would not see it")
    if directory.exists() and any(directory.iterdir()):
        raise BedError(f"{directory} is not empty: `down` first, or name another folder")
    directory.mkdir(parents=True, exist_ok=True)
    if families is None:
        families = (4, 6) if Path("/proc/sys/net/ipv6").is_dir() else (4,)
    owned = (os.getpid(), str(started(os.getpid()))) if owner else None
    identity = nodes.claim(identity, directory)
    layout = Layout(directory, identity, count, proxy, families, owned, tuple(tools.items()))
    layout.save()
    if owner:
        _guard(layout)
    return layout


def _guard(layout: Layout) -> None:
    """Started twice removed, so that it is nobody's child and leaves no zombie here."""
    command = ["setsid", "--fork", *nodes.program("guard.py", layout.directory)]
    with open(layout.directory / "guard.log", "ab") as log:
        subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=nodes.environment(layout),
            check=True,
        )
    until("the guard", (layout.directory / "guard").exists, 10, 0.01)


@contextlib.contextmanager
def _step(say: Say, layout: Layout, what: str, *logs: tuple[int, str]) -> Iterator[None]:
    """Tell how long it took; a failure brings the last lines of the logs that explain it."""
    begin = time.monotonic()
    try:
        yield
    except BedError as error:
        words = [f"{what}: FAILED: {error}", *(tail(layout.log(*log)) for log in logs), *failures(layout)]
        raise BedError("\n".join([*words, f"folder: {layout.directory}"])) from error
    say(f"{what:<28}{time.monotonic() - begin:5.1f} s")


def _up(layout: Layout, say: Say) -> None:
    begin, bed = time.monotonic(), Bed(layout)
    kubelets = [(number, "kubelet") for number in layout.numbers]
    with _step(say, layout, "keys, settings, images"):
        configuration.write(layout)
        images = archives.pause(), archives.coredns()
    with _step(say, layout, "bridge, nodes", *((number, "supervisor") for number in layout.numbers)):
        nodes.bridge(layout)
        for number in layout.numbers:
            nodes.boot(layout, number)
    with _step(say, layout, "images on the nodes", *((number, "containerd") for number in layout.numbers)):
        for node in bed.nodes:
            _wait(layout, f"containerd on {node.name}", lambda node=node: node.succeeds("ctr", "version"))
        bed.load(images[0])
        bed.load(images[1], nodes=bed.nodes[:1])
    with _step(say, layout, "API server", (1, "etcd"), (1, "kube-apiserver")):
        _wait(layout, "/readyz", bed.api.ready)
        _wait(layout, "namespace kube-system", lambda: bed.api.get("/api/v1/namespaces/kube-system"))
        bed.kubectl("apply", "--filename=-", text=configuration.manifests(layout))
    with _step(say, layout, "nodes Ready", *kubelets):
        for node in bed.nodes:
            _wait(layout, f"{node.name} Ready", lambda node=node: node_ready(bed.api, node.name))
    with _step(say, layout, "default service account", (1, "kube-controller-manager")):
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        _wait(layout, "service account", lambda: bed.api.get(path))
    with _step(say, layout, "DNS answers", (1, "kube-scheduler"), (1, "kube-proxy"), *kubelets[:1]):
        _wait(layout, "DNS", lambda: dns_answers(layout.service(10), "kubernetes.default.svc.cluster.local"))
    say(f"{'up':<28}{time.monotonic() - begin:5.1f} s")


def _wait(layout: Layout, what: str, check: Callable[[], object], seconds: float = 60) -> None:
    """Do not wait for what a dead component will never do."""

    def look() -> object:
        if (told := failures(layout)) and len(told) > 2:
            raise BedError("components keep ending")
        return check()

    until(what, look, seconds)


def api(layout: Layout) -> Api:
    return Api.from_kubeconfig(layout.directory / "kubeconfig", layout.pki / "ca.crt")
