"""The CA of `sidewinder up`: files that a sidecar takes, renewed in time, always whole, and gone with the proxy."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sidewinder_operator.authority.local import AGAIN_SECONDS, BUNDLE, CERTIFICATE, KEY, Authority
from sidewinder_operator.authority.root import announce, signed_by, switch
from sidewinder_sidecar.identity.leaf import Leaf, examine
from tests.support.clock import eventually

DAY = dt.timedelta(hours=24)
NAME = "spiffe://cluster.local/ns/shop/sa/web"


class World:
    """An authority with a clock that is moved by hand."""

    def __init__(self, lifetime: dt.timedelta = DAY) -> None:
        self.now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self.authority = Authority("cluster.local", lifetime, lambda: self.now)

    def after(self, share: float, lifetime: dt.timedelta = DAY) -> float:
        self.now += lifetime * share
        return self.authority.step()


def held(folder: Path) -> Leaf:
    """What the sidecar's own judge says of the files; it raises where they do not fit."""
    return examine(str(folder / CERTIFICATE), str(folder / KEY), (folder / BUNDLE).read_text())


def test_a_sidecar_takes_what_it_is_given(tmp_path: Path) -> None:
    world = World()
    folder = world.authority.issue(tmp_path / "0.identity", "shop", "web", "5b6e")
    found = held(folder)
    assert (found.spiffe_id, found.subject) == (NAME, "5b6e")
    assert found.not_after == (world.now + DAY).timestamp()
    assert (folder / BUNDLE).read_bytes() == world.authority.trust.pem()


def test_only_the_owner_may_read_and_nothing_else_lies_there(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = World().authority.issue(tmp_path / "0.identity", "shop", "web")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        KEY: 0o600,
        CERTIFICATE: 0o600,
        BUNDLE: 0o600,
    }


def test_the_roots_key_is_nowhere(tmp_path: Path) -> None:
    authority = World().authority
    folder = authority.issue(tmp_path / "0.identity", "shop", "web")
    secret = authority.trust.signing.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert all(secret not in path.read_bytes() for path in folder.iterdir())
    assert repr(authority) == "<Authority cluster.local: 1 proxies, 0 renewals>"


def test_it_is_renewed_at_about_half_of_its_life_with_another_key(tmp_path: Path) -> None:
    world = World()
    folder = world.authority.issue(tmp_path / "0.identity", "shop", "web")
    first, key = held(folder), (folder / KEY).read_bytes()
    wait = world.after(0.44)
    assert (held(folder), world.authority.renewals) == (first, 0)
    assert 0 < wait <= 0.11 * DAY.total_seconds()
    world.after(0.12)
    assert held(folder).serial != first.serial
    assert held(folder).not_after > first.not_after
    assert (folder / KEY).read_bytes() != key
    assert world.authority.renewals == 1


def test_many_are_not_renewed_at_once(tmp_path: Path) -> None:
    world = World()
    for number in range(20):
        world.authority.issue(tmp_path / f"{number}.identity", "shop", "web")
    world.after(0.5)
    assert 0 < world.authority.renewals < 20


def test_who_reads_meanwhile_never_sees_half_a_file(tmp_path: Path) -> None:
    world = World()
    folder = world.authority.issue(tmp_path / "0.identity", "shop", "web")
    opened = (folder / CERTIFICATE).open("rb")
    world.after(0.6)
    old = x509.load_pem_x509_certificate(opened.read())
    opened.close()
    assert old.serial_number != x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes()).serial_number


def test_a_disk_that_is_full_is_told_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    folder = world.authority.issue(tmp_path / "0.identity", "shop", "web")
    moved = folder.rename(tmp_path / "away")
    assert world.after(0.6) == AGAIN_SECONDS
    assert caplog.messages == [f"the certificate of {NAME} cannot be renewed: No such file or directory"]
    moved.rename(folder)
    before = held(folder)
    world.now += dt.timedelta(seconds=AGAIN_SECONDS)
    world.authority.step()
    assert held(folder).serial != before.serial


def test_what_is_trusted_changes_in_every_folder_at_once(tmp_path: Path) -> None:
    world = World()
    folders = [world.authority.issue(tmp_path / f"{number}.identity", "shop", "web") for number in range(3)]
    first = world.authority.trust
    world.authority.use(announce(first, world.authority.root()))
    world.authority.step()
    assert {(folder / BUNDLE).read_bytes() for folder in folders} == {world.authority.trust.pem()}
    world.authority.use(switch(world.authority.trust))
    world.authority.step()
    for folder in folders:
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        assert signed_by(certificate, world.authority.trust.signing.certificate)
        assert not signed_by(certificate, first.signing.certificate)
        assert held(folder).spiffe_id == NAME
    assert world.authority.renewals == 6


def test_with_its_proxy_it_goes(tmp_path: Path) -> None:
    world = World()
    folder = world.authority.issue(tmp_path / "0.identity", "shop", "web")
    world.authority.forget(folder)
    world.authority.forget(folder)
    assert not folder.exists()
    world.after(2.0)
    assert world.authority.renewals == 0


def test_it_runs_and_hears_of_a_new_proxy(tmp_path: Path) -> None:
    async def main() -> None:
        authority = Authority("cluster.local", dt.timedelta(seconds=1))
        running = asyncio.ensure_future(authority.run())
        await asyncio.sleep(0)
        folder = authority.issue(tmp_path / "0.identity", "shop", "web")
        first = held(folder).serial
        await eventually(lambda: authority.renewals > 0)
        assert held(folder).serial != first
        running.cancel()

    asyncio.run(main())
