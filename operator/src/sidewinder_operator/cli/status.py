"""`sidewinder status`: asks the running `up` over a Unix socket of its own. `up` serves, the command shows.

`local_rotation` and `tls` ask there as well.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from sidewinder_operator.cli.console import Voice, columns, sentence
from sidewinder_operator.cli.sockets import bind
from sidewinder_operator.local import kept
from sidewinder_operator.resources.meta import Named

if TYPE_CHECKING:
    from sidewinder_operator.cli.up import Up

WHERE = "up.json"  # in the state folder: the process and its socket
ROTATE = "/rotate-root"
LARGEST_ANSWER = 16 << 20
BUSY = (TimeoutError, BlockingIOError)  # nobody takes what comes; the latter once as many wait as may
SECONDS = 5.0
PORTS = ("inbound", "outbound", "application", "probe", "admin")


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says."""

    pid: int
    socket: str


class NotRunning(Exception):
    """Nobody can be asked; says why."""


async def serve(up: Up, state: Path, path: Path) -> web.AppRunner:
    """Answers GET /status on a socket there from now on, and writes down where. Raises OSError when it cannot."""
    kept.write(state / WHERE, msgspec.json.encode(Where(pid=os.getpid(), socket=str(path))))

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(picture(up))

    async def rotate(request: web.Request) -> web.Response:
        up.rotate_root()
        return web.json_response(up.rotation.told(), status=202)

    application = web.Application()
    application.router.add_get("/status", answer)
    application.router.add_post(ROTATE, rotate)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, bind(path)).start()
    return runner


def forget(state: Path) -> None:
    """Nobody can be asked any more."""
    (state / WHERE).unlink(missing_ok=True)


def picture(up: Up) -> dict[str, Any]:
    """What runs, who has which object, what is wrong."""
    way_in = up.way_in
    objects: list[dict[str, Any]] = []
    if up.round is not None:
        cluster = up.round.compiled.cluster
        shown: list[Named] = [*cluster.routes.values(), *cluster.policies.values(), *cluster.services.values()]
        for found in shown:
            standing = up.acks.standing(found.reference)
            objects.append({
                "kind": found.KIND,
                "namespace": found.namespace,
                "name": found.name,
                "proxies": {
                    "required": standing.required,
                    "acknowledged": standing.acknowledged,
                    "rejected": standing.rejected,
                },
                "missing": standing.missing,
                "rejections": {who: rejection.why for who, rejection in standing.rejections.items()},
            })  # fmt: skip
    return {
        "wayIn": {"address": way_in.address, "port": way_in.port, "domain": way_in.domain},
        "proxies": [_door(up), *(_member(up, member.replica.id) for member in up.replicas.members)],
        "authority": up.rotation.told(),
        "services": _services(up),
        "objects": objects,
        "drains": up.drains.told(),
        "problems": [msgspec.to_builtins(problem) for problem in up.problems],
        "sentences": [sentence(problem) for problem in up.problems],
    }


def _services(up: Up) -> dict[str, list[str]]:
    """Service → the ids of those who serve it."""
    if up.round is None:
        return {}
    members = {member.replica.uid: member.replica.id for member in up.replicas.members}
    return {
        name: sorted({members[e.uid] for port in service.ports for e in port.endpoints if e.uid in members})
        for name, service in up.round.compiled.mesh.services.items()
    }


def _door(up: Up) -> dict[str, Any]:
    assert up.door is not None
    return {
        "id": up.way_in.id,
        "name": up.way_in.name,
        "ready": up.door.child.running,
        "current": up.acks.current(up.way_in.id),
        "ports": {"inbound": up.way_in.port, "probe": up.door.probe_port, "admin": up.door.admin_port},
        "processes": {"sidecar": up.door.child.pid},
        "restarts": {"sidecar": up.door.child.restarts},
    }


def _member(up: Up, id_: str) -> dict[str, Any]:
    member = next(member for member in up.replicas.members if member.replica.id == id_)
    replica, sidecar = member.replica, member.sidecar
    return {
        "id": replica.id,
        "name": member.name,
        "ready": replica.ready,
        "current": up.acks.current(replica.id),
        "ports": {
            "application": replica.application,
            "inbound": replica.inbound,
            "outbound": replica.outbound,
            "probe": sidecar.probe_port,
            "admin": sidecar.admin_port,
        },
        "processes": {"application": member.application.pid, "sidecar": sidecar.child.pid},
        "restarts": {"application": member.application.restarts, "sidecar": sidecar.child.restarts},
    }


def ask(state: Path, method: str = "GET", path: str = "/status") -> bytes:
    """The running `up`'s answer. Raises NotRunning."""
    place = _socket(state)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS)
            connection.connect(place)
            connection.sendall(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while (chunk := connection.recv(65536)) and len(answer) < LARGEST_ANSWER:
                answer += chunk
    except BUSY:
        raise NotRunning(f"the `sidewinder up` of {state} has not answered within {SECONDS:g} s") from None
    except OSError as fault:
        raise NotRunning(f"the `sidewinder up` of {state} does not answer ({fault}); has it been killed?") from None
    return answer.partition(b"\r\n\r\n")[2]


def _socket(state: Path) -> str:
    """Where the `up` listens that has its state here. Raises NotRunning."""
    where = kept.read(state / WHERE)
    if not where:
        raise NotRunning(f"no `sidewinder up` runs with its state in {state}; name another folder with --state")
    try:
        return msgspec.json.decode(where, type=Where).socket
    except msgspec.DecodeError as fault:
        raise NotRunning(f"{state / WHERE} cannot be read ({fault}): remove it") from None


def runs(state: Path) -> bool:
    """Whether an `up` has its state in this folder: somebody listens there, even who is too busy to answer just now."""
    try:
        place = _socket(state)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS)
            connection.connect(place)
    except BUSY:
        return True
    except (NotRunning, OSError):
        return False
    return True


def elsewhere(context: str, state: Path) -> str:
    """The end of a complaint of the cluster: it may not be what was meant, where no context was named."""
    if context or runs(state):
        return ""
    return f" (the cluster was asked: no `sidewinder up` runs with its state in {state})"


def show(answer: bytes, voice: Voice) -> None:
    """The answer for people."""
    told = json.loads(answer)
    proxies = columns("proxy", "ready", "current", *PORTS, "restarts")
    for proxy in told["proxies"]:
        ports = (str(proxy["ports"].get(port, "")) for port in PORTS)
        restarts = str(sum(proxy["restarts"].values()))
        name = proxy["id"].removeprefix("LocalProcess/")
        proxies.add_row(name, _yes(proxy["ready"]), _yes(proxy["current"]), *ports, restarts)
    objects = columns("object", "required", "acknowledged", "rejected", "missing")
    for found in told["objects"]:
        missing = [f"{who} ({found['rejections'].get(who, 'not yet')})" for who in found["missing"]]
        counts = (str(found["proxies"][key]) for key in ("required", "acknowledged", "rejected"))
        objects.add_row(f"{found['kind']} {found['namespace']}/{found['name']}", *counts, ", ".join(missing))
    for table in (proxies, objects):
        voice.out.print(table)
    for line in told["sentences"]:
        voice.warn(line)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
