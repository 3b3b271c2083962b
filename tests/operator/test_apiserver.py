"""How the API server is asked: tokens, refusals, what is sent."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import aiohttp
import pytest
import uvloop

from sidewinder_operator.apiserver import APPLY, ApiServer, Refused, refusal
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.serving import issue
from tests.support.apiserver import FakeApiServer

THINGS = "/apis/example.dev/v1/namespaces/shop/things"


def test_objects_are_made_read_and_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            token = tmp_path / "token"
            token.write_text("one")
            server.token = "one"
            api = ApiServer(server.url, token_file=token)
            await api.send("POST", THINGS, {"metadata": {"name": "a"}})
            assert (await api.get(f"{THINGS}/a"))["metadata"]["name"] == "a"
            with pytest.raises(Refused, match="404 NotFound: b not found"):
                await api.get(f"{THINGS}/b")
            server.token = "two"
            with pytest.raises(Refused) as told:
                await api.get(f"{THINGS}/a")
            assert told.value.status == 401
            token.write_text("two\n")
            assert await api.get(f"{THINGS}/a")
            body = {"metadata": {"name": "a"}, "status": {"well": True}}
            await api.send("PATCH", f"{THINGS}/a/status", body, query={"fieldManager": "me"}, kind=APPLY)
            assert server.requests[-1] == ("PATCH", f"{THINGS}/a/status", {"fieldManager": "me"})
            assert repr(api) == f"<ApiServer {server.url}>"
            await api.close()

    asyncio.run(main())


def test_what_is_not_a_status_is_told_as_it_is() -> None:
    told = refusal(502, b"<html>bad gateway</html>")
    assert (told.status, told.reason, str(told)) == (502, "", "502: <html>bad gateway</html>")
    assert str(refusal(500, b"")) == "500: no reason was given"
    assert str(refusal(500, b"\xff\xfe")).startswith("500: ")


def test_who_leaves_a_stream_is_not_kept_by_a_server_that_says_no_farewell(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    trust = roots.Trust(roots.create("cluster.local", now))
    (tmp_path / "ca.pem").write_bytes(trust.pem())
    (tmp_path / "server.pem").write_bytes(issue(("127.0.0.1",), trust, now).pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    over = threading.Event()

    def serve(listening: socket.socket) -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            over.wait(10)

    async def main(port: int) -> None:
        api = ApiServer(f"https://127.0.0.1:{port}", authority=tmp_path / "ca.pem")
        async with api.stream("/watch", {}, aiohttp.ClientTimeout(total=5)) as response:
            assert await response.content.readany() == b"one"
        await api.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve, args=(listening,))
        server.start()
        try:
            uvloop.run(main(listening.getsockname()[1]))  # closing a loop with a connection in it is an error of uvloop
        finally:
            over.set()
            server.join()
