"""The command line of the test bed: up, down, status, load, run, and faults by hand.

Called by __main__.py; calls bed.py. `make cluster-up` and its siblings in cluster.mk are this program.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tests.cluster.bed import bed as testbed
from tests.cluster.bed import components, nodes
from tests.cluster.bed.waiting import BedError

ACTIONS = ("stop", "start", "kill", "pause", "resume")
NODE_ACTIONS = ("kill", "boot", "cut", "heal")


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="bed", description="A real Kubernetes cluster on this machine.")
    whole.add_argument("--directory", type=Path, help="the bed's folder (default: in the user's cache folder)")
    verbs = whole.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="make a cluster and wait until it works")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--identity", type=int, help="which of the 14 ranges of addresses (default: the first free)")
    up.add_argument("--proxy", default="iptables", choices=("iptables", "nftables"))
    up.add_argument("--ipv4-only", action="store_true")
    down = verbs.add_parser("down", help="take it away, with everything it made")
    down.add_argument("--identity", type=int, help="a bed whose folder is gone")
    verbs.add_parser("status", help="the nodes, their components and what ended")
    verbs.add_parser("beds", help="all beds on this machine")
    load = verbs.add_parser("load", help="import image archives into all nodes")
    load.add_argument("archive", nargs="+", type=Path)
    execute = verbs.add_parser("run", help="run a command in a node's namespaces")
    execute.add_argument("node")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    for action in sorted({*ACTIONS, *NODE_ACTIONS}):
        fault = verbs.add_parser(action, help="NODE, COMPONENT (of node1) or NODE/COMPONENT")
        fault.add_argument("target")
    return whole


def _up(arguments: argparse.Namespace) -> None:
    bed = testbed.start(
        arguments.nodes,
        directory=arguments.directory or testbed.default_directory(),
        identity=arguments.identity,
        proxy=arguments.proxy,
        families=(4,) if arguments.ipv4_only else None,
        say=lambda line: print(line, flush=True),
    )
    print(f"export KUBECONFIG={bed.kubeconfig} PATH={bed.bin}:$PATH")


def _down(arguments: argparse.Namespace) -> None:
    if arguments.identity is not None:
        nodes.sweep(arguments.identity)
        return
    nodes.remove((arguments.directory or testbed.default_directory()).resolve())


def _memory(pid: int) -> str:
    sizes = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line]
    return f"{int(sizes[0]) >> 10:>4} MiB" if sizes else "ended"


def _status(arguments: argparse.Namespace) -> None:
    bed = testbed.attach(arguments.directory)
    for node in bed.nodes:
        print(f"{node.name}  {' '.join(node.addresses)}  {'up' if node.running else 'DOWN'}")
        for known in components.of(bed.layout, node.number):
            pid = node.component(known.program).pid
            print(f"  {known.program:<26}{f'{pid:>8} {_memory(pid)}' if pid else '       - does not run'}")
        ended = bed.layout.node(node.number) / "ended"
        for end in map(json.loads, ended.read_text().splitlines() if ended.exists() else []):
            why = "as asked" if end["expected"] else "UNASKED"
            print(f"  ended {why}: {end['component']} at {end['time']}, status {end['status']}")
    if bed.api.ready():
        print(bed.kubectl("get", "nodes", "--output=wide"), end="")
    print(f"export KUBECONFIG={bed.kubeconfig} PATH={bed.bin}:$PATH")


def _beds(_: argparse.Namespace) -> None:
    for number, directory in nodes.claimed().items():
        print(number, directory)


def _load(arguments: argparse.Namespace) -> None:
    testbed.attach(arguments.directory).load(*arguments.archive)


def _run(arguments: argparse.Namespace) -> None:
    command = testbed.attach(arguments.directory).node(arguments.node).command(*arguments.command)
    os.execvp(command[0], command)


def _fault(arguments: argparse.Namespace) -> None:
    bed = testbed.attach(arguments.directory)
    node, slash, name = arguments.target.partition("/")
    if not slash and not node.startswith("node"):
        node, name = "node1", node
    allowed = ACTIONS if name else NODE_ACTIONS
    if arguments.verb not in allowed:
        raise BedError(f"{arguments.target}: one can {', '.join(allowed)} it, not {arguments.verb}")
    target = bed.node(node).component(name) if name else bed.node(node)
    getattr(target, arguments.verb)()


VERBS = {"up": _up, "down": _down, "status": _status, "beds": _beds, "load": _load, "run": _run}


def main() -> int:
    arguments = parser().parse_args()
    try:
        VERBS.get(arguments.verb, _fault)(arguments)
    except BedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell tells it; what was being made is gone
    return 0
