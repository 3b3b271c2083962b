"""A node's first process: it makes the machine, starts the components, starts again what ended, and reaps everybody.

Started by nodes.py inside new namespaces, as `python supervisor.py FOLDER NUMBER`; calls machine.py and
components.py. It stays small: the standard library only. Files in the node's folder are how it is spoken to:

    hold-NAME     the component shall not run
    expect-NAME   its next end is wanted: not a failure (removed when it has ended)
    ended         written here: JSON, a line per end (component, time, status, expected, last lines)
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from tests.cluster.bed.client import Api
from tests.cluster.bed.components import API, Component, executable, of
from tests.cluster.bed.layout import Layout
from tests.cluster.bed.logs import last_lines
from tests.cluster.bed.machine import prepare

AGAIN = 1.0  # seconds until what ended is started again: enough for its ports and sockets to be free
TICK = 0.1  # seconds between looks at the hold files; an end is noticed at once


class Supervisor:
    """The node's components and who of them runs."""

    def __init__(self, layout: Layout, number: int) -> None:
        self._layout, self._number = layout, number
        self._api = Api(layout.server, layout.pki / "ca.crt")
        self._waiting = {each.program: each for each in of(layout, number)}
        self._running: dict[int, Component] = {}
        self._due: dict[str, float] = {}

    def forever(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        while True:
            for component in list(self._waiting.values()):
                if self._may_start(component):
                    self._start(component)
            signal.sigtimedwait({signal.SIGCHLD}, TICK)
            self._reap()

    def _note(self, kind: str, program: str) -> Path:
        return self._layout.node(self._number) / f"{kind}-{program}"

    def _may_start(self, component: Component) -> bool:
        if self._due.get(component.program, 0) > time.monotonic() or self._note("hold", component.program).exists():
            return False
        if component.needs is None:
            return True
        return self._api.ready() if component.needs == API else _listening(component.needs)

    def _start(self, component: Component) -> None:
        command = [executable(self._layout, component), *component.arguments]
        with open(self._layout.log(self._number, component.program), "a", buffering=1) as log:
            log.write(f"--- {time.strftime('%T')} {' '.join(command)}\n")
            files = [(os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)]
            pid = os.posix_spawn(command[0], command, os.environ, setsid=True, setsigmask=(), file_actions=files)
        self._running[pid] = self._waiting.pop(component.program)

    def _reap(self) -> None:
        """Everybody's ends come here: those of the components, and of the orphans that containers leave."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if component := self._running.pop(pid, None):
                self._ended(component, status)

    def _ended(self, component: Component, status: int) -> None:
        name = component.program
        self._waiting[name] = component
        self._due[name] = time.monotonic() + AGAIN
        expected = self._note("hold", name).exists() or self._note("expect", name).exists()
        self._note("expect", name).unlink(missing_ok=True)
        code = os.waitstatus_to_exitcode(status)
        line = {"component": name, "time": time.strftime("%T"), "status": code, "expected": expected}
        if not expected:  # now, while its own last words are still the end of the log
            line["last"] = last_lines(self._layout.log(self._number, name))
        with open(self._layout.node(self._number) / "ended", "a") as ended:
            ended.write(json.dumps(line) + "\n")


def _listening(where: str | int) -> bool:
    """Whether somebody accepts connections at this socket; a file alone may be what a killed one left."""
    try:
        if isinstance(where, int):
            socket.create_connection(("127.0.0.1", where), 0.5).close()
        else:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(where)
    except OSError:
        return False
    return True


def main() -> None:
    layout, number = Layout.load(Path(sys.argv[1])), int(sys.argv[2])
    prepare(layout, number)
    Supervisor(layout, number).forever()


if __name__ == "__main__":
    main()
