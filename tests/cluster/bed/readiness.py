"""What a working cluster looks like: nodes that are Ready, DNS that answers, components that have not died.

Called by bed.py and faults.py; calls client.py.
"""

from __future__ import annotations

import json
import socket
import struct

from tests.cluster.bed.client import Api
from tests.cluster.bed.layout import Layout

_QUERY = 7  # any number will do: one question at a time, and each on a socket of its own


def node_ready(api: Api, name: str) -> bool:
    conditions = api.get(f"/api/v1/nodes/{name}")["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def dns_answers(server: str, name: str, seconds: float = 0.3) -> bool:
    """Whether the DNS server has an IPv4 address for the name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack("!6H", _QUERY, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(seconds)
        asker.sendto(question, (server, 53))
        answers = struct.unpack("!6H", asker.recv(512)[:12])[3]
    return answers > 0


def failures(layout: Layout) -> list[str]:
    """Ends of components that nobody asked for, each with the last lines of its log."""
    told = []
    for number in layout.numbers:
        path = layout.node(number) / "ended"
        lines = path.read_text().splitlines() if path.exists() else []
        for end in map(json.loads, lines):
            if not end["expected"]:
                what = f"{end['component']} on node{number} ended at {end['time']}, status {end['status']}"
                log = layout.log(number, end["component"])
                told.append("\n".join([f"{what}; last lines of {log} then:", *end["last"]]))
    return told
