"""Keys made, exchanged, revoked and listed: what is kept is never the key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from sidewinder_operator.cli import apikey
from sidewinder_operator.cli.apikey import Wrong, create, listed, moment, password_line, resolve, revoke, rotate, span
from sidewinder_operator.resources.stored_key import read
from sidewinder_sidecar.snapshot.hashed import KEY, key_hash, password

NOW = dt.datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class Memory:
    """A Secret that is nowhere."""

    def __init__(self, **entries: str) -> None:
        self.entries = dict(entries)

    def read(self) -> dict[str, str]:
        return dict(self.entries)

    def change(self, changes: Mapping[str, str | None]) -> None:
        for name, value in changes.items():
            if value is None:
                self.entries.pop(name)
            else:
                self.entries[name] = value


def test_a_key_is_shown_once_and_kept_hashed() -> None:
    store = Memory()
    made = create(store, NOW, plan="gold", metadata={"team": "web"}, note="for Zoë", expires=NOW + HOUR)
    found = KEY.fullmatch(made.key.encode())
    assert found is not None
    assert found[1].decode() == made.id
    assert made.id[0].isalpha()
    kept = read(store.entries[made.id])
    assert kept.hash == key_hash(made.key.encode())
    assert (kept.plan, kept.metadata, kept.note) == ("gold", {"team": "web"}, "for Zoë")
    assert kept.created == NOW.replace(microsecond=0)
    assert kept.expires == (NOW + HOUR).replace(microsecond=0)
    assert made.key.rpartition("_")[2] not in store.entries[made.id]


def test_keys_differ() -> None:
    store = Memory()
    assert len({create(store, NOW).key for _ in range(200)}) == 200
    assert len(store.entries) == 200


@pytest.mark.parametrize("text", ["a\nb", "x" * 300])
def test_what_could_not_be_read_again_is_not_written(text: str) -> None:
    store = Memory()
    with pytest.raises(Wrong):
        create(store, NOW, metadata={"a": text})
    assert store.entries == {}


def test_the_old_key_holds_for_the_grace_period() -> None:
    store = Memory()
    first = create(store, NOW, plan="gold", metadata={"a": "b"}, expires=NOW + 100 * HOUR)
    later = NOW + 10 * HOUR
    second, old = rotate(store, later, first.id, 24 * HOUR)
    assert old == first.id
    assert read(store.entries[first.id]).expires == later + 24 * HOUR
    assert read(store.entries[first.id]).hash == first.stored.hash
    assert (second.stored.plan, second.stored.metadata) == ("gold", {"a": "b"})
    assert second.stored.expires == (later + 100 * HOUR).replace(microsecond=0)
    assert second.key != first.key


def test_a_rotation_never_prolongs_the_old_key() -> None:
    store = Memory()
    first = create(store, NOW, expires=NOW + HOUR)
    rotate(store, NOW, first.id, 24 * HOUR)
    assert read(store.entries[first.id]).expires == first.stored.expires


def test_a_revoked_key_is_gone() -> None:
    store = Memory()
    first, second = create(store, NOW), create(store, NOW)
    assert revoke(store, first.key) == first.id
    assert list(store.entries) == [second.id]


def test_keys_are_found_by_what_they_begin_with() -> None:
    known = {"abcdefghij": "", "abzzzzzzzz": "", "b222222222": ""}
    assert resolve(known, "abcdefghij") == "abcdefghij"
    assert resolve(known, "swk_abc") == "abcdefghij"
    assert resolve(known, "b") == "b222222222"
    assert resolve(known, "swk_abcdefghij_" + "x" * 52) == "abcdefghij"
    for wrong, why in (("ab", "2 keys begin"), ("zz", "no key begins"), ("", "no key begins"), ("swk_", "no key")):
        with pytest.raises(Wrong, match=why):
            resolve(known, wrong)
    with pytest.raises(Wrong, match="is not there"):
        resolve({}, "zz")
    with pytest.raises(Wrong) as refused:
        resolve(known, "swk_zzzzzzzzzz_" + "x" * 52)
    assert "xxx" not in str(refused.value)


def test_a_list_shows_what_is_broken_too() -> None:
    store = Memory(README="hello", aaaaaaaaaa="broken")
    second = create(store, NOW + HOUR)
    first = create(store, NOW)
    found = listed(store)
    assert [each.id for each in found] == ["README", "aaaaaaaaaa", first.id, second.id]
    assert [bool(each.broken) for each in found] == [True, True, False, False]
    assert [each.id for each in listed(store, f"swk_{first.id[:6]}")] == [first.id]
    with pytest.raises(Wrong, match="aaaaaaaaaa"):
        rotate(store, NOW, "aaaaaaaaaa", HOUR)


TIMES = {
    "days": ("90d", NOW + dt.timedelta(days=90)),
    "minutes": ("5m", NOW + dt.timedelta(minutes=5)),
    "a time": ("2031-01-01T00:00:00Z", dt.datetime(2031, 1, 1, tzinfo=dt.UTC)),
    "a time elsewhere": ("2031-01-01T01:00:00+01:00", dt.datetime(2031, 1, 1, tzinfo=dt.UTC)),
}


@pytest.mark.parametrize(("text", "found"), TIMES.values(), ids=TIMES)
def test_times(text: str, found: dt.datetime) -> None:
    assert moment(text, NOW) == found


@pytest.mark.parametrize("text", ["", "soon", "2031-01-01T00:00:00", "2029-01-01T00:00:00Z", "-5d", "1y"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Wrong):
        moment(text, NOW)


def test_spans() -> None:
    assert span("0s") == dt.timedelta()
    with pytest.raises(Wrong, match="24h"):
        span("day")


def test_a_password_becomes_a_line() -> None:
    name, _, kept = password_line("alice@shop.example", "hush").partition(":")
    assert name == "alice@shop.example"
    assert password(kept).fits(b"hush")
    assert not password(kept).fits(b"Hush")
    assert password_line("alice", "hush") != password_line("alice", "hush")
    for user in ("", "a:b", "a\nb", " a", "#a", "a" * 300):
        with pytest.raises(Wrong):
            password_line(user, "hush")
    with pytest.raises(Wrong):
        password_line("alice", "")


def test_secrets_come_from_the_systems_source(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def token_bytes(size: int) -> bytes:
        asked.append(size)
        return b"\xff" * size

    monkeypatch.setattr(apikey.secrets, "token_bytes", token_bytes)
    create(Memory(), NOW)
    assert 32 in asked  # 256 bits
