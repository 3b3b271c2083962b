import asyncio
import contextlib
import json
import time

import pytest
import uvloop

from sidewinder_sidecar import admin
from sidewinder_sidecar.admin import Door, Page, answer, configuration, redact
from sidewinder_sidecar.snapshot.authentication import Credential, CredentialsSpec
from sidewinder_sidecar.snapshot.filters import FieldValue, RequestHeaders
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import RouteSpec, RuleSpec


async def later():
    await asyncio.sleep(0)
    return answer(200, {"late": True})


PAGES = {
    ("GET", "/livez"): lambda: answer(200, {"status": "alive"}),
    ("GET", "/large"): lambda: Page(200, (f"{number}\n" for number in range(100_000)), "text/plain"),
    ("GET", "/late"): later,
    ("POST", "/drain"): lambda: answer(200, {"status": "draining"}),
}


def asked(*requests, loopback=False, half=False):
    """The raw answers to raw requests, each on a connection of its own."""

    async def run():
        door = Door(PAGES, loopback)
        await door.open("127.0.0.1", 0)
        answers = []
        for request in requests:
            reader, writer = await asyncio.open_connection(*door.address)
            writer.write(request)
            if half:
                writer.write_eof()
            answers.append(await asyncio.wait_for(reader.read(), 10))
            writer.close()
        door.close()
        return answers

    return uvloop.run(run())


def get(path, method="GET", more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost:1\r\n{more}\r\n".encode()


def parsed(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *rows = head.decode().split("\r\n")
    return int(status.split(" ")[1]), dict(row.lower().split(": ", 1) for row in rows), body


def test_a_page():
    (raw,) = asked(get("/livez"))
    status, fields, body = parsed(raw)
    assert (status, json.loads(body)) == (200, {"status": "alive"})
    assert fields["connection"] == "close"
    assert int(fields["content-length"]) == len(body)


CASES = {
    "query is passed over": (get("/livez?x=1"), 200),
    "HEAD": (get("/livez", "HEAD"), 200),
    "HTTP/1.0 without Host": (b"GET /livez HTTP/1.0\r\n\r\n", 200),
    "a page that takes its time": (get("/late"), 200),
    "unknown": (get("/nope"), 404),
    "wrong method": (get("/livez", "POST"), 405),
    "wrong method of a deed": (get("/drain"), 405),
    "body": (get("/drain", "POST", "Content-Length: 5\r\n"), 413),
    "chunks": (get("/drain", "POST", "Transfer-Encoding: chunked\r\n"), 413),
    "no body": (get("/drain", "POST", "Content-Length: 0\r\n"), 200),
    "absolute": (get("http://x/livez"), 400),
    "not HTTP": (b"\x16\x03\x01\r\n\r\n", 400),
    "version": (b"GET /livez HTTP/2.0\r\n\r\n", 400),
    "long head": (get("/livez", more="x: " + "y" * 9000 + "\r\n"), 431),
}


@pytest.mark.parametrize(("request_", "status"), CASES.values(), ids=CASES)
def test_what_is_answered(request_, status):
    (raw,) = asked(request_)
    found, fields, body = parsed(raw)
    assert found == status
    if request_.startswith(b"HEAD"):
        assert body == b""
        assert int(fields["content-length"]) > 0
    elif status >= 400:
        assert json.loads(body)["detail"]


def test_the_wrong_method_is_told_the_right_one():
    (raw,) = asked(get("/drain"))
    assert parsed(raw)[1]["allow"] == "post"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:15000", 200),
        ("[::1]:15000", 200),
        ("evil.example", 421),
        ("localhost.evil", 421),
    ],
)
def test_loopback_answers_only_who_names_this_machine(host, status):
    (raw,) = asked(f"POST /drain HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), loopback=True)
    assert parsed(raw)[0] == status


def test_loopback_answers_no_web_page():
    (raw,) = asked(get("/drain", "POST", "Origin: http://evil.example\r\n"), loopback=True)
    assert parsed(raw)[0] == 403


def test_a_large_page_is_whole():
    (raw,) = asked(get("/large"))
    assert parsed(raw)[2].count(b"\n") == 100_000


def test_half_a_head_and_away():
    assert asked(b"GET /livez", half=True) == [b""]


def test_rendering_lets_others_run():
    async def run():
        door = Door({("GET", "/slow"): lambda: Page(200, slow())})
        await door.open("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(get("/slow"))
        reading = asyncio.ensure_future(reader.read())
        longest, last = 0.0, time.thread_time()  # its own time, not the clock's: the machine may be busy with others
        while not reading.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
        writer.close()
        door.close()
        return longest, len(reading.result())

    def slow():
        for _ in range(200):
            until = time.thread_time() + 0.001
            while time.thread_time() < until:
                pass
            yield "x"

    longest, size = uvloop.run(run())
    assert size > 200
    assert longest < 0.1  # and not the 200 ms that all of it takes


def test_a_slow_head_ends(monkeypatch):
    monkeypatch.setattr(admin, "HEAD_SECONDS", 0.05)
    assert asked(b"GET /livez HTTP/1.1\r\n") == [b""]


def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(admin, "CONNECTIONS", 2)

    async def run():
        asked, release = asyncio.Semaphore(0), asyncio.Event()

        async def held():
            asked.release()
            await release.wait()
            return answer(200, {})

        door = Door({**PAGES, ("GET", "/held"): held})
        await door.open("127.0.0.1", 0)
        first = [await asyncio.open_connection(*door.address) for _ in range(2)]
        for _, writer in first:
            writer.write(get("/held"))
            await asyncio.wait_for(asked.acquire(), 5)
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(get("/livez"))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b"", "whoever is being answered keeps the place"
        release.set()
        assert [parsed(await asyncio.wait_for(reader.read(), 5))[0] for reader, _ in first] == [200, 200]
        for _, one in [*first, (reader, writer)]:
            one.close()
        door.close()

    uvloop.run(run())


def test_whoever_is_silent_gives_way_to_whoever_asks(monkeypatch):
    monkeypatch.setattr(admin, "CONNECTIONS", 2)

    async def run():
        door = Door(PAGES)
        await door.open("127.0.0.1", 0)
        silent = [await asyncio.open_connection(*door.address) for _ in range(2)]
        silent[0][1].write(b"GET /livez")  # half a question is none
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*door.address)
            writer.write(get("/livez"))
            assert parsed(await asyncio.wait_for(reader.read(), 5))[0] == 200
            writer.close()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(silent[0][0].read(), 5) == b""
        silent[1][1].write(get("/livez"))
        assert parsed(await asyncio.wait_for(silent[1][0].read(), 5))[0] == 200, "one of them was enough"
        for _, one in silent:
            one.close()
        door.close()

    uvloop.run(run())


def test_loopback_only_means_it():
    with pytest.raises(ValueError, match="not loopback"):
        uvloop.run(Door(PAGES, loopback=True).open("0.0.0.0", 0))


def test_configuration_without_secrets():
    headers = RequestHeaders(set=(FieldValue("X-Api-Key", "hunter2"), FieldValue("x-team", "shop")))
    route = RouteSpec(name="shop/a", rules=(RuleSpec(name="r", filters=(headers,)),))
    page = configuration(
        "5a", "discovery", {"route/shop/a": route, "proxy/self": ProxySpec(name="a", namespace="shop")}
    )
    text = "".join(page.body)
    found = json.loads(text)
    assert (found["state"], list(found["resources"])) == ("5a", ["proxy/self", "route/shop/a"])
    assert "hunter2" not in text
    values = found["resources"]["route/shop/a"]["rules"][0]["filters"][0]["set"]
    assert [one["value"] for one in values] == ["[redacted]", "shop"]


@pytest.mark.parametrize("name", ["Authorization", "cookie", "x-auth-token", "X-Secret", "my-password", "APIKEY"])
def test_names_that_sound_like_secrets(name):
    assert redact([{"name": name, "value": "x"}]) == [{"name": name, "value": "[redacted]"}]


def test_credentials_are_shown_by_name_alone():
    known = Credential(id="ada", hash="sha256:planted", plain="planted-too", plan="gold", expires=7.0)
    page = configuration("s", "operator", {"credentials/a/b": CredentialsSpec(name="a/b", credentials=(known,))})
    shown = "".join(page.body)
    assert "planted" not in shown
    (credential,) = json.loads(shown)["resources"]["credentials/a/b"]["credentials"]
    assert credential == {"id": "ada", "hash": "[redacted]", "plain": "[redacted]", "plan": "gold", "expires": 7.0}
