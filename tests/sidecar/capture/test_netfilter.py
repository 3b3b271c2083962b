"""Rules in a real kernel: a network namespace of the test's own, connections through it, nothing left outside."""

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest

from sidewinder_sidecar.capture import netfilter

# Runs inside a fresh network namespace: writes the rules twice, then connects and says where each connection arrived.
INSIDE = """
import json, os, socket, struct, subprocess, sys, threading
from ipaddress import ip_network
from sidewinder_sidecar.capture.netfilter import Batch
from sidewinder_sidecar.capture.rules import Wanted, rules
run = lambda *words: subprocess.run(words, check=True)
run("ip", "link", "set", "lo", "up")
run("ip", "link", "add", "out", "type", "veth", "peer", "name", "end")
run("ip", "link", "set", "end", "up")
run("ip", "link", "set", "out", "up")
run("ip", "addr", "add", "198.18.0.1/24", "dev", "out")
run("ip", "-6", "addr", "add", "fd00:5::1/64", "dev", "out", "nodad")
wanted = Wanted(65533, 15006, 15001, (9901,), (3306,), (ip_network("198.18.0.9/32"),))
for _ in range(2):
    batch = Batch()
    for family in (4, 6):
        batch.table(family, rules(wanted, family))
    batch.send()
servers = {}
for port in (15001, 15006, 3306, 8080, 53):
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", port)); server.listen(8)
    servers[port] = server
def serve(port, server):
    while True:
        connection, _ = server.accept()
        try:
            raw = connection.getsockopt(socket.IPPROTO_IP, 80, 16)
            wanted = (socket.inet_ntop(socket.AF_INET, raw[4:8]), int.from_bytes(raw[2:4]))
        except OSError:
            try:
                raw = connection.getsockopt(socket.IPPROTO_IPV6, 80, 28)
                wanted = (socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[2:4]))
            except OSError:
                wanted = None
        connection.sendall(json.dumps([port, wanted]).encode()); connection.close()
for port, server in servers.items():
    threading.Thread(target=serve, args=(port, server), daemon=True).start()
def call(host, port, uid=0):
    child = subprocess.run([sys.executable, "-c", '''
import os, socket, sys
"".encode("idna")  # loaded now: another user may not read where Python lies
os.setuid(int(sys.argv[3]))
try:
    c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
    print(b"".join(iter(lambda: c.recv(99), b"")).decode())
except OSError as e:
    print('"' + type(e).__name__ + '"')
''', host, str(port), str(uid)], capture_output=True, text=True, timeout=10)
    return json.loads(child.stdout) if child.stdout else child.stderr
print(json.dumps({
    "service": call("198.18.0.77", 80),
    "service v6": call("fd00:5::77", 80),
    "own address": call("198.18.0.1", 8080),
    "loopback": call("127.0.0.1", 8080),
    "skipped port": call("198.18.0.1", 3306),
    "dns": call("198.18.0.1", 53),
    "proxy": call("198.18.0.1", 8080, 65533),
    "rules": len(sys.argv) > 1 and subprocess.run(["nft", "-j", "list", "ruleset"], stdout=-1).stdout.decode(),
}))
"""


@pytest.fixture(scope="module")
def seen():
    """What a namespace with the rules did with each connection."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs unshare and ip: apt-get install util-linux iproute2")
    if os.geteuid():
        pytest.skip("needs root: a network namespace of its own, and connections of several users in it")
    command = ["unshare", "--net", sys.executable, "-c", INSIDE]
    if shutil.which("nft"):
        command.append("nft")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("connection", "arrived"),
    [
        ("service", [15001, ["198.18.0.77", 80]]),
        ("service v6", [15001, ["fd00:5::77", 80]]),
        ("own address", [15001, ["198.18.0.1", 8080]]),
        ("loopback", [8080, None]),
        ("skipped port", [3306, None]),
        ("dns", [53, None]),
        ("proxy", [8080, None]),
    ],
)
def test_a_connection_arrives_where_it_should(seen, connection, arrived):
    port, original = seen[connection]
    assert port == arrived[0]
    if arrived[1] is not None:
        assert original == arrived[1], "the original destination survives the redirect"


def test_a_second_run_leaves_no_duplicate(seen):
    if not seen["rules"]:
        pytest.skip("needs nft to read the rules back: apt-get install nftables")
    written = [item["rule"] for item in json.loads(seen["rules"])["nftables"] if "rule" in item]
    per_family = {family: sum(rule["family"] == family for rule in written) for family in ("ip", "ip6")}
    assert per_family == {"ip": 8, "ip6": 7}


@pytest.mark.parametrize(
    ("code", "told"),
    [(errno.EPERM, "NET_ADMIN"), (errno.ENOENT, "nft_redir"), (errno.EIO, "Input/output error")],
)
def test_a_refusal_says_what_may_help(monkeypatch, code, told):
    class Kernel:
        def __init__(self, *_):
            raise OSError(code, "Input/output error" if code == errno.EIO else "no")

    monkeypatch.setattr(netfilter.socket, "socket", Kernel)
    with pytest.raises(netfilter.Refused, match=told):
        netfilter.Batch().send()


def test_a_silent_kernel_does_not_hang_the_start(monkeypatch):
    class Kernel:
        def __init__(self, *_): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def bind(self, _): ...
        def settimeout(self, seconds):
            assert seconds == netfilter.ANSWER_SECONDS

        def send(self, _): ...
        def recv(self, _):
            raise TimeoutError

    monkeypatch.setattr(netfilter.socket, "socket", Kernel)
    batch = netfilter.Batch()
    batch.remove(4)
    with pytest.raises(netfilter.Refused, match="did not answer"):
        batch.send()
