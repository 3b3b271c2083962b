"""One sidecar process of local mode: its settings, ports and readiness. Started by `replicas` and for the way in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from sidewinder_operator.local.children import Child, Nursery, Program, Tell
from sidewinder_operator.local.ports import Ports
from sidewinder_operator.local.readiness import Check

SCRIPT = Path(sys.executable).with_name("sidewinder-sidecar")
COMMAND = (
    (str(SCRIPT),) if SCRIPT.exists() else (sys.executable, "-c", "from sidewinder_sidecar.main import main; main()")
)
DRAIN_SECONDS = 5.0  # a person waits at a prompt: shorter than in a cluster, long enough for a slow answer
LIMITS = "SIDEWINDER_LIMIT_"  # settings that a person may pass on to all sidecars
QUERY = "SIDEWINDER_ACCESS_LOG_QUERY"  # another one
JUDGE_SECONDS = 20.0  # for a process that only reads its environment, on a machine that is very busy


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """What sidecars tell, and where to."""

    otlp_endpoint: str = ""
    otlp_headers: str = ""
    access_log: bool = False
    log_level: str = "warning"


def unusable(telling: Telling) -> list[str]:
    """What a sidecar says against the settings that a person hands on to all of them; empty where it can use them.

    Asked before anything starts: a sidecar that cannot start would only be started again, and so would every other.
    """
    if not telling.otlp_endpoint and not any(name.startswith((LIMITS, QUERY)) for name in os.environ):
        return []
    command, environment = (*COMMAND, "settings"), handed_on(telling, os.environ)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=JUDGE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []  # its start will tell
    return done.stderr.splitlines() if done.returncode else []


def handed_on(telling: Telling, outer: Mapping[str, str]) -> dict[str, str]:
    """The part of a sidecar's environment that is the same for all of them."""
    return {
        **{name: value for name, value in outer.items() if not name.startswith("SIDEWINDER_")},
        f"{LIMITS}DRAIN_SECONDS": f"{DRAIN_SECONDS:g}",
        **{name: value for name, value in outer.items() if name.startswith((LIMITS, QUERY))},
        "SIDEWINDER_ACCESS_LOG": "stdout" if telling.access_log else "off",
        "SIDEWINDER_LOG_LEVEL": telling.log_level,
        "SIDEWINDER_OTLP_ENDPOINT": telling.otlp_endpoint,
        "SIDEWINDER_OTLP_HEADERS": telling.otlp_headers,
    }


class Sidecar:
    """A proxy process and what it was promised. `socket` is where it finds its configuration, `identity` the folder of
    its certificate.
    """

    def __init__(
        self,
        name: str,
        socket: Path,
        identity: Path,
        nursery: Nursery,
        ports: Ports,
        tell: Tell,
        telling: Telling,
        changed: Callable[[Child], None],
    ) -> None:
        self.probe_port = ports.reserve()
        self.admin_port = ports.reserve()
        self._ports = ports
        environment = self._environment(socket, identity, telling, os.environ)
        program = Program(name=f"{name} sidecar", command=COMMAND, environment=environment)
        self.child = Child(program, nursery, tell, changed)

    @property
    def check(self) -> Check:
        """It is ready when it has a configuration and its listeners are up."""
        return Check(port=self.probe_port, path="/readyz", interval=0.05)

    async def stop(self) -> None:
        """Lets it finish what runs."""
        await self.child.stop(DRAIN_SECONDS + 2.0)
        self._ports.release(self.probe_port, self.admin_port)

    def _environment(self, socket: Path, identity: Path, telling: Telling, outer: Mapping[str, str]) -> dict[str, str]:
        return {
            **handed_on(telling, outer),
            "SIDEWINDER_DISCOVERY": f"unix:{socket}",
            "SIDEWINDER_KEEP": str(socket.with_suffix(".kept")),
            "SIDEWINDER_IDENTITY": str(identity),
            "SIDEWINDER_PROBE_ADDRESS": "127.0.0.1",
            "SIDEWINDER_PROBE_PORT": str(self.probe_port),
            "SIDEWINDER_ADMIN_PORT": str(self.admin_port),
        }
