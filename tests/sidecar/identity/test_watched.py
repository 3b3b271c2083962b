"""An identity that somebody else writes: used once it is whole, the old one until then, told once what is wrong."""

from __future__ import annotations

import datetime as dt
import logging
import os

import pytest

from sidewinder_sidecar.identity.files import Files
from sidewinder_sidecar.identity.watched import Watched
from sidewinder_sidecar.settings import Settings
from tests.support.authority import SPIFFE_ID, issued, now, trust
from tests.support.identities import identity, named, write


@pytest.fixture(scope="module")
def by():
    return trust()


class Scene:
    def __init__(self, folder, **more):
        self.heard = []
        self.one = Watched(Files(Settings(identity=str(folder))), changed=self.heard.append, **more)


def test_nothing_is_there_and_then_it_is(tmp_path, by):
    scene = Scene(tmp_path / "id")
    scene.one.look()
    assert (scene.one.held, scene.one.usable, scene.one.fault) == (None, False, "there is none yet")
    identity(tmp_path / "id", by, named("reviews"))
    scene.one.look()
    scene.one.look()
    [held] = scene.heard
    assert held is scene.one.held
    assert (held.leaf.spiffe_id, scene.one.usable, scene.one.fault) == (SPIFFE_ID, True, "")
    assert held.pair == (str(tmp_path / "id/certificate.pem"), str(tmp_path / "id/key.pem"))
    assert held.trust == by.pem().decode()


def test_a_new_one_is_used_and_new_roots_too(tmp_path, by):
    scene = Scene(identity(tmp_path / "id", by, named("reviews")))
    scene.one.look()
    identity(tmp_path / "id", by, named("reviews"))
    scene.one.look()
    assert len({held.leaf.serial for held in scene.heard}) == 2
    os.replace(_beside(tmp_path, by, trust()), tmp_path / "id/bundle.pem")
    scene.one.look()
    assert [len(held.roots) for held in scene.heard] == [1, 1, 2]


def _beside(tmp_path, *trusted):
    beside = tmp_path / "bundle.new"
    beside.write_bytes(b"".join(one.pem() for one in trusted))
    return beside


def test_half_of_one_is_none(tmp_path, by, caplog):
    scene = Scene(identity(tmp_path / "id", by, named("reviews")))
    scene.one.look()
    key, certificate = issued(by, named("reviews"))
    (tmp_path / "id/key.pem").write_text(key)  # its certificate is not there yet
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            scene.one.look()
    assert len(scene.heard) == 1
    assert scene.one.usable
    assert "is not its key" in scene.one.fault
    assert len(caplog.records) == 1
    (tmp_path / "id/certificate.pem").write_text(certificate)
    scene.one.look()
    assert (len(scene.heard), scene.one.fault) == (2, "")


def test_one_that_nobody_trusts_is_none(tmp_path, by):
    key, certificate = issued(trust(), named("reviews"))
    scene = Scene(write(tmp_path / "id", key, certificate, by))
    scene.one.look()
    assert scene.heard == []
    assert scene.one.fault


def test_its_time_ends(tmp_path, by):
    hour = dt.timedelta(hours=1)
    later = (now() + hour).timestamp() + 1
    scene = Scene(identity(tmp_path / "id", by, named("reviews"), life=hour), now=lambda: later)
    scene.one.look()
    assert scene.one.held is not None
    assert not scene.one.usable
