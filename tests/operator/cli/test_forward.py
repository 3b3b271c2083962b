"""A pod's port on this machine. A program stands in for kubectl; `tests/cluster` has the real one."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidewinder_operator.cli.forward import Failed, forwarded
from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """A program that does these lines of shell."""

    def make(lines: str) -> str:
        path = tmp_path / "kubectl"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def pod() -> Iterator[tuple[int, list[str]]]:
    """A port that answers, and the Host fields it was asked with."""
    hosts: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(self.headers["host"])
            self.send_response(404 if self.path == "/missing" else 200)
            self.end_headers()
            self.wfile.write(b'{"path": "%s"}' % self.path.encode() if self.path != "/text" else b"text")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1], hosts
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_it_leads_there_and_ends_with_the_block(program: Callable[[str], str], tmp_path: Path) -> None:
    words = tmp_path / "words"
    line = (
        f'echo "$*" > {words}; echo $$ > {tmp_path}/pid\necho "Forwarding from 127.0.0.1:4711 -> 15000"\nexec sleep 60'
    )
    with forwarded([program(line), "--context=east"], "shop", "reviews-1", 15000) as port:
        assert port == 4711
        pid = (tmp_path / "pid").read_text().strip()
        assert os.path.exists(f"/proc/{pid}")
    assert words.read_text().split() == [
        "--context=east", "port-forward", "--namespace=shop", "--address=127.0.0.1", "pod/reviews-1", ":15000",
    ]  # fmt: skip
    assert not os.path.exists(f"/proc/{pid}")


def test_a_pod_may_be_named_by_what_has_it(program: Callable[[str], str], tmp_path: Path) -> None:
    line = f'echo "$*" > {tmp_path}/words; echo "Forwarding from 127.0.0.1:1 -> 1"; exec sleep 60'
    for name in ("deployment/reviews", "pod/reviews-1"):
        with forwarded([program(line)], "shop", name, 1):
            pass
        assert (tmp_path / "words").read_text().split()[-2] == name


def test_what_kubectl_said_is_told(program: Callable[[str], str]) -> None:
    words = [program("echo 'error: pod is not running' >&2; exit 1")]
    with pytest.raises(Failed, match="error: pod is not running"), forwarded(words, "shop", "x", 1):
        pass
    with pytest.raises(Failed, match="kubectl has ended"), forwarded([program("exit 3")], "shop", "x", 1):
        pass


@pytest.mark.parametrize("line", ["exec sleep 60", "yes something else"])
def test_one_that_never_says_where_is_left(program: Callable[[str], str], line: str) -> None:
    words = [program(line)]
    with pytest.raises(Failed, match="did not say where it listens"), forwarded(words, "shop", "x", 1, 0.3):
        pass


def test_a_pod_is_asked_through_it(program: Callable[[str], str], pod: tuple[int, list[str]]) -> None:
    port, hosts = pod
    cluster = Kubectl(program=program(f'echo "Forwarding from 127.0.0.1:{port} -> 15000"; exec sleep 60'))
    assert cluster.ask("shop", "reviews-1", 15000, "/identity") == {"path": "/identity"}
    assert hosts == [f"localhost:{port}"]  # the admin port takes no other name
    with pytest.raises(Refused, match="shop/reviews-1: /missing: 404 Not Found"):
        cluster.ask("shop", "reviews-1", 15000, "/missing")
    with pytest.raises(Unreachable, match="something else than JSON"):
        cluster.ask("shop", "reviews-1", 15000, "/text")


def test_a_pod_without_a_proxy_is_told(program: Callable[[str], str]) -> None:
    cluster = Kubectl(program=program('echo "Forwarding from 127.0.0.1:1 -> 15000"; exec sleep 60'))
    with pytest.raises(Unreachable, match="shop/bare: nothing answers on its port 15000: has it a proxy"):
        cluster.ask("shop", "bare", 15000, "/identity")


def test_a_pod_that_is_not_there(program: Callable[[str], str]) -> None:
    line = """echo 'Error from server (NotFound): pods "x" not found' >&2; exit 1"""
    with pytest.raises(Refused, match='pods "x" not found') as refused:
        Kubectl(program=program(line)).ask("shop", "x", 15000, "/identity")
    assert refused.value.status == 404


def test_without_kubectl_it_is_said() -> None:
    with pytest.raises(Unreachable, match="is not on the PATH"):
        Kubectl(program="/nowhere/kubectl").ask("shop", "x", 15000, "/identity")
