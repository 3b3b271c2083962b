"""The HTTP echo over real connections: what it tells, and each wish of the query."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.apps import echo, load
from tests.cluster.support.background import serving

ME = echo.Self("pod-1", "shop", "node1", "cart", "v2")


@pytest.fixture
def wishes(tmp_path: Path) -> Path:
    return tmp_path / "wishes"


@pytest.fixture
def connection(wishes: Path) -> Iterator[http.client.HTTPConnection]:
    with serving(echo.Echo(ME, wishes=wishes)) as port:
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


def test_it_counts_paths(connection: http.client.HTTPConnection) -> None:
    for path in ("/a", "/a?x=1", "/b"):
        told = ask(connection, "GET", path)[1]
    assert told["asked"] == {"/a": 2, "/b": 1}
    for number in range(echo.PATHS):
        ask(connection, "GET", f"/{number}")
    assert len(ask(connection, "GET", "/a")[1]["asked"]) == echo.PATHS, "bounded"


def test_a_pod_gets_ill_and_well_by_a_file(connection: http.client.HTTPConnection, wishes: Path) -> None:
    assert ask(connection, "GET", "/work")[0] == 200
    wishes.write_text(json.dumps({"/work": {"status": "503"}}))
    assert [ask(connection, "GET", path)[0] for path in ("/work", "/work?status=404", "/healthz")] == [503, 503, 200]
    wishes.write_text("{")
    assert ask(connection, "GET", "/work")[0] == 200, "half written"
    wishes.unlink()
    assert ask(connection, "GET", "/work")[0] == 200


def test_a_body_takes_its_time(connection: http.client.HTTPConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "DRIPS", 0.01)
    begin = time.monotonic()
    assert len(ask(connection, "GET", "/?size=5000&drip=0.1")[1]["padding"]) == 5000
    assert time.monotonic() - begin > 0.08


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
