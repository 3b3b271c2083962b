"""The HTTP echo over real connections: what it tells, and each wish of the query."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.apps import echo, load
from tests.cluster.support.background import serving

ME = echo.Self("pod-1", "shop", "node1", "cart", "v2")


@pytest.fixture
def connection() -> Iterator[http.client.HTTPConnection]:
    with serving(echo.Echo(ME)) as port:
        talk = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        yield talk
        talk.close()


def ask(connection: http.client.HTTPConnection, *words: Any, **more: Any) -> tuple[int, dict[str, Any]]:
    connection.request(*words, **more)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_it_tells_who_answers_and_what_arrived(connection: http.client.HTTPConnection) -> None:
    status, told = ask(connection, "POST", "/cart?x=1", body=b"apples", headers={"X-Trace": "t"})
    assert status == 200
    assert {name: told[name] for name in ("pod", "namespace", "node", "name", "version")} == vars(ME)
    assert (told["method"], told["target"], told["protocol"]) == ("POST", "/cart?x=1", "HTTP/1.1")
    assert ["X-Trace", "t"] in told["headers"]
    assert (told["body"], told["body_bytes"]) == ("apples", 6)
    assert told["peer"][0] == told["local"][0] == "127.0.0.1"
    assert told["tls"] is None


def test_it_counts_the_requests_of_a_connection(connection: http.client.HTTPConnection) -> None:
    assert [ask(connection, "GET", "/")[1]["on_connection"] for _ in range(3)] == [1, 2, 3]


def test_it_tells_what_loads_have_sent(connection: http.client.HTTPConnection) -> None:
    ask(connection, "GET", "/healthz")
    ask(connection, "GET", "/", headers={load.NUMBER: "0"})
    told = ask(connection, "GET", "/")[1]
    assert (told["served"], told["of_loads"]) == (3, 1)


def test_wishes(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "GET", "/?status=503")[0] == 503
    assert len(ask(connection, "GET", "/?size=5000")[1]["padding"]) == 5000
    connection.request("GET", "/?chunked=1")
    answer = connection.getresponse()
    assert answer.getheader("Transfer-Encoding") == "chunked"
    assert json.loads(answer.read())["pod"] == "pod-1"
    connection.request("HEAD", "/")
    assert connection.getresponse().read() == b""
    connection.request("GET", "/?close=1")
    answer = connection.getresponse()
    answer.read()
    assert answer.will_close
    connection.close()
    connection.request("GET", "/?drop=1")
    with pytest.raises(ConnectionError):
        connection.getresponse()


def test_it_is_ready_when_its_time_has_come(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "GET", "/healthz")[0] == 200
    with serving(echo.Echo(ME, ready_after=60)) as port:
        early = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        assert ask(early, "GET", "/healthz")[0] == 503
        assert ask(early, "GET", "/")[0] == 200
        early.close()


def test_damage_is_answered(connection: http.client.HTTPConnection) -> None:
    connection.putrequest("GET", "/")
    connection.putheader("Content-Length", "many")
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (400, b"content-length 'many'\n")


def test_who_it_is_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD", "a")
    monkeypatch.setenv("VERSION", "v7")
    assert (echo.Self.here().pod, echo.Self.here().version) == ("a", "v7")
    monkeypatch.delenv("POD")
    assert echo.Self.here().pod  # the host's name
