"""Names and passwords: checked beside the loop, once, and remembered for minutes."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import Callable

import pytest

from sidewinder_sidecar.filters.authenticate import basic
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.snapshot.authentication import BasicProvider, Credential, CredentialsSpec
from sidewinder_sidecar.snapshot.hashed import Password
from tests.sidecar.snapshot.test_hashed import kept
from tests.support.memory import Caller
from tests.support.proofs import Guarded, section
from tests.support.sockets import run, until

BY_PASSWORD = BasicProvider(name="users", credentials="shop/users/users", realm='the "shop"')
USERS = CredentialsSpec(
    name="shop/users/users",
    credentials=(Credential(id="alice", hash=kept()), Credential(id="zoë", hash=kept(secret="grüße:".encode()))),
)


def world(users: CredentialsSpec = USERS) -> Guarded:
    return Guarded(section(BY_PASSWORD), credentials=(users,))


def sent(pair: str | bytes) -> tuple[bytes, bytes]:
    return b"Authorization", b"Basic " + b64encode(pair.encode() if isinstance(pair, str) else pair)


async def status(scene: Guarded, pair: str | bytes) -> int:
    """What becomes of a request with these credentials."""
    before = scene.attempts
    caller = scene.get(sent(pair))
    await until(lambda: caller.status or scene.attempts > before)
    if not caller.status:
        assert b"authorization" not in scene.passed().fields
    return caller.status


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread of each check."""
    threads: list[str] = []
    fits: Callable[[Password, bytes], bool] = Password.fits

    def counted(self: Password, password: bytes) -> bool:
        threads.append(threading.current_thread().name)
        return fits(self, password)

    monkeypatch.setattr(Password, "fits", counted)
    return threads


def test_the_right_password_passes_and_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = counting(monkeypatch)

    async def main() -> None:
        scene = world()
        assert await status(scene, "alice:hush") == 200
        assert scene.last.attributes is not None
        assert scene.last.attributes["claims"] == {"sub": "alice"}
        assert await status(scene, "alice:hush") == 200
        assert len(threads) == 1
        scene.clock.advance(basic.GOOD_SECONDS + 1)
        assert await status(scene, "alice:hush") == 200
        assert len(threads) == 2
        assert await status(scene, "zoë:grüße:") == 200
        assert not any(name.startswith("MainThread") for name in threads)
        scene.check()

    run(main)


WRONG = {
    "another password": ("alice:hus", 401),
    "nobody of that name": ("bob:hush", 401),
    "no password": ("alice:", 401),
    "another case": ("Alice:hush", 401),
    "somebody else's": ("zoë:hush", 401),
    "no colon": ("alice", 400),
    "a name without end": ("a" * 300 + ":x", 400),
}


@pytest.mark.parametrize(("pair", "wanted"), WRONG.values(), ids=WRONG)
def test_anything_else_is_refused(pair: str, wanted: int) -> None:
    async def main() -> None:
        scene = world()
        assert await status(scene, pair) == wanted
        assert scene.attempts == 0

    run(main)


def test_what_is_no_base64_is_refused() -> None:
    scene = world()
    caller = scene.get((b"Authorization", b"Basic YWxpY2U6aHVzaA=!"))
    assert caller.status == 400
    assert caller.header(b"www-authenticate") == b'Basic realm="the \\"shop\\"", charset="UTF-8"'


def test_an_unknown_name_is_as_slow_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[int, int, int]] = []

    def fits(self: Password, password: bytes) -> bool:
        checked.append(self[:3])
        return False

    monkeypatch.setattr(Password, "fits", fits)

    async def main() -> None:
        scene = world()
        assert [await status(scene, pair) for pair in ("alice:x", "bob:x")] == [401, 401]

    run(main)
    assert checked == [(10, 8, 1), (10, 8, 1)]


def test_a_wrong_password_that_is_repeated_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = counting(monkeypatch)

    async def main() -> None:
        scene = world()
        assert [await status(scene, "alice:x") for _ in range(3)] == [401, 401, 401]
        assert len(threads) == 1

    run(main)


def test_a_changed_password_counts_at_once() -> None:
    async def main() -> None:
        scene = world()
        assert await status(scene, "alice:hush") == 200
        changed = CredentialsSpec(name=USERS.name, credentials=(Credential(id="alice", hash=kept(secret=b"new")),))
        scene.guard(section(BY_PASSWORD), credentials=(changed,))
        assert await status(scene, "alice:hush") == 401
        assert await status(scene, "alice:new") == 200

    run(main)


def test_a_crowd_waits_for_one_check_and_the_loop_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    running = 0

    def fits(self: Password, password: bytes) -> bool:
        nonlocal running
        running += 1
        return go.wait(10)

    monkeypatch.setattr(Password, "fits", fits)

    async def main() -> None:
        scene = world()
        crowd: list[Caller] = [scene.get(sent("alice:hush")) for _ in range(50)]
        others = [scene.get(sent(f"alice:{number}")) for number in range(basic.WAITING)]
        assert [caller.status for caller in others] == [0] * (basic.WAITING - 1) + [503]
        crowd[0].exchange.on_caller_gone("caller_gone")
        await asyncio.sleep(0)
        assert running <= 1
        go.set()
        await until(lambda: scene.attempts == 49 + basic.WAITING - 1)
        assert running == basic.WAITING

    run(main)


def test_hashes_of_another_kind_are_refused_before_they_serve() -> None:
    with pytest.raises(Refused, match="user alice") as refused:
        world(CredentialsSpec(name=USERS.name, credentials=(Credential(id="alice", hash="plain-text"),)))
    assert "plain-text" not in str(refused.value)
