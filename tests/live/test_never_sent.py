"""Requests to a Service of which one endpoint takes no connection: none of them fails, though no rule asks for retries,
for nobody has read anything of them. Orders and uploads too. Real processes and sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.sidecar import backend, sidecar, snapshot

pytestmark = pytest.mark.live


def test_what_was_never_sent_goes_elsewhere_whatever_it_is(tmp_path: Path) -> None:
    with backend() as app, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # and nobody listens
        fixed = snapshot(app.port)
        fixed["listener/in"] |= {"direction": "Outbound"}
        known = fixed["endpoints/shop/reviews:9080"]["endpoints"]
        known.append({"uid": "dead", "address": "127.0.0.1", "port": dead.getsockname()[1]})
        with sidecar(tmp_path, fixed) as proxy:
            port = proxy.ready()
            for number in range(40):
                order = f"order {number} ".encode() * (1 if number % 2 else 50_000)
                answer = proxy.ask(port, "/", "POST", order, host="reviews")
                assert (answer.status, answer.json()["body"].encode() == order) == (200, True)
            lines = proxy.log(40)
    assert sum(line.get("retries", 0) for line in lines) > 5, "the dead one was tried"
    assert len(app.asked) == 40, "and nothing was done twice"
