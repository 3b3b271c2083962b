"""The chaos run's DNS: what a resolver asks is answered, and both ways of being away are told from each other."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from tests.chaos.name_server import ANSWERS, FAILS, SILENT, NameServer, answer

NAMES = {"pod-0.shop.test": "198.18.0.2"}
A, AAAA = 1, 28


def query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 77, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


@pytest.mark.parametrize(
    ("name", "kind", "fails", "code", "found"),
    [
        pytest.param("pod-0.shop.test", A, False, 0, "198.18.0.2", id="found"),
        pytest.param("POD-0.shop.test", A, False, 0, "198.18.0.2", id="capitals"),
        pytest.param("pod-0.shop.test", AAAA, False, 0, "", id="no-ipv6"),
        pytest.param("pod-1.shop.test", A, False, 3, "", id="no-such-name"),
        pytest.param("pod-0.shop.test", A, True, 2, "", id="fails"),
    ],
)
def test_answers(name: str, kind: int, fails: bool, code: int, found: str) -> None:
    asked = query(name, kind)
    told = answer(asked, NAMES, fails)
    number, flags, questions, answers = struct.unpack_from("!HHHH", told)
    assert (number, flags & 15, questions, answers) == (77, code, 1, int(bool(found)))
    assert told[12 : len(asked)] == asked[12:]
    assert not found or socket.inet_ntoa(told[-4:]) == found


def test_its_moods() -> None:
    async def run() -> None:
        server = NameServer(NAMES)
        port = await server.open("127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.setblocking(False)
            asking.connect(("127.0.0.1", port))
            codes = []
            for mood in (ANSWERS, SILENT, FAILS):
                server.mood = mood
                asking.send(query("pod-0.shop.test", A))
                if mood != SILENT:
                    codes.append((await loop.sock_recv(asking, 512))[3] & 15)
        assert codes == [0, 2]
        assert server.asked == 3
        await server.close()

    asyncio.run(asyncio.wait_for(run(), 10))
