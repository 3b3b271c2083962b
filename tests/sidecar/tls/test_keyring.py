"""Who is believed when, what is remembered, what ends with a certificate, and that a flood of failures is one line."""

from __future__ import annotations

import datetime as dt
import logging
import ssl
import time
import types

import pytest

from sidewinder_sidecar.tls import keyring as module
from sidewinder_sidecar.tls.certificate import Unfit
from sidewinder_sidecar.tls.keyring import GRACE_SECONDS, LEAD_SECONDS, Keyring, Refused, failure
from tests.support.authority import now, trust
from tests.support.identities import forged, identity, named, write
from tests.support.two_proxies import WEB, keys, renew

HOUR = dt.timedelta(hours=1)


class Shown:
    """A connection on which somebody shows a certificate."""

    def __init__(self, folder=None):
        text = (folder / "certificate.pem").read_text() if folder is not None else ""
        self.der = ssl.PEM_cert_to_DER_cert(text) if text else None

    def get_extra_info(self, name):
        assert name == "ssl_object"
        return types.SimpleNamespace(getpeercert=lambda binary: self.der)


class Line:
    """An open connection."""

    watcher = None

    def __init__(self):
        self.told = []

    def drain(self):
        self.told.append("drain")

    def break_off(self):
        self.told.append("break off")


@pytest.fixture(scope="module")
def by():
    return trust()


@pytest.fixture(scope="module")
def ours(tmp_path_factory, by):
    return identity(tmp_path_factory.mktemp("ours"), by, named("reviews"))


def test_without_an_identity_there_is_nothing():
    ring = Keyring()
    assert (ring.credentials, ring.usable, ring.epoch) == (None, None, 0)
    with pytest.raises(Refused, match="no certificate"):
        ring.judge(Shown())


def test_each_certificate_is_an_epoch_and_a_broken_one_is_none(ours, tmp_path):
    ring = keys(ours)
    assert (ring.epoch, ring.credentials.epoch) == (1, 1)
    renew(ring, ours)
    assert (ring.epoch, ring.credentials.epoch) == (2, 2)
    before = ring.credentials
    (tmp_path / "certificate.pem").write_text("half of i")
    (tmp_path / "key.pem").write_text("")
    (tmp_path / "bundle.pem").write_text("")
    with pytest.raises(Unfit):
        renew(ring, tmp_path)
    assert (ring.epoch, ring.credentials) == (2, before)


def test_who_is_believed(ours, by, tmp_path):
    ring = keys(ours)
    web = Shown(identity(tmp_path / "web", by, named("web")))
    leaf = ring.judge(web)
    assert leaf.spiffe_id == WEB
    assert ring.judge(web) is leaf  # read once


@pytest.mark.parametrize(
    ("make", "result"),
    [
        (lambda folder, by: identity(folder, by, named("web", domain="b.example")), "trust_domain"),
        (lambda folder, by: identity(folder, by, named("web"), begins=now() - 2 * HOUR, life=HOUR), "expired"),
        (lambda folder, by: identity(folder, by, named("web"), begins=now() + HOUR), "expired"),
        (lambda folder, by: write(folder, *forged(by, (WEB, WEB)), by), "certificate"),
    ],
    ids=["another domain", "expired", "not yet", "two names"],
)
def test_who_is_not(ours, by, tmp_path, make, result):
    ring = keys(ours)
    for _ in range(2):
        with pytest.raises(Refused) as told:
            ring.judge(Shown(make(tmp_path / "it", by)))
        assert told.value.result == result


def test_a_remembered_one_is_judged_by_its_time_again(ours, by, tmp_path):
    clock = [time.time()]
    ring = keys(ours, now=lambda: clock[0])
    web = Shown(identity(tmp_path / "web", by, named("web"), life=HOUR))
    assert ring.judge(web)
    clock[0] += 3601
    with pytest.raises(Refused, match="is over"):
        ring.judge(web)
    clock[0] += 86400
    assert ring.usable is None
    with pytest.raises(Refused) as told:
        ring.judge(web)
    assert told.value.result == "own_expired"


def test_what_is_remembered_is_bounded(ours, by, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 2)
    ring = keys(ours)
    shown = [Shown(identity(tmp_path / name, by, named(name))) for name in "abc"]
    leaves = [ring.judge(one) for one in shown]
    assert ring.judge(shown[2]) is leaves[2]
    assert ring.judge(shown[0]) is not leaves[0]


def test_lines_end_with_the_first_certificate_that_does(ours, by, tmp_path):
    clock = [time.time()]
    ring = keys(ours, now=lambda: clock[0])
    leaf = ring.judge(Shown(identity(tmp_path / "web", by, named("web"), life=HOUR)))
    short, outside, passed, heir = Line(), Line(), Line(), Line()
    ring.watch(short, leaf)
    ring.watch(outside, None)
    ring.watch(passed, leaf)
    ring.pass_on(passed, heir)
    assert heir.watcher is ring
    assert set(ring.lines) == {short, outside, heir}
    ring.sweep()
    assert short.told == heir.told == outside.told == []
    clock[0] = leaf.not_after
    ring.sweep()
    assert short.told == heir.told == ["drain"]
    clock[0] += GRACE_SECONDS
    ring.sweep()
    assert short.told == ["drain", "break off"]
    assert outside.told == passed.told == []
    ring.forget(short)
    ring.forget(short)
    assert set(ring.lines) == {outside, heir}
    assert GRACE_SECONDS + 1 <= 5


def test_callers_leave_a_certificate_before_those_whom_they_call(ours, by, tmp_path):
    clock = [time.time()]
    ring = keys(ours, now=lambda: clock[0])
    leaf = ring.judge(Shown(identity(tmp_path / "web", by, named("web"), life=HOUR)))
    calling, called = Line(), Line()
    ring.watch(calling, leaf, ring.epoch)
    ring.watch(called, leaf)
    clock[0] = leaf.not_after - LEAD_SECONDS - 0.1
    ring.sweep()
    assert calling.told == called.told == []
    clock[0] += 0.2
    ring.sweep()
    assert (calling.told, called.told) == (["drain"], [])
    assert LEAD_SECONDS >= 2, "a sweep comes once a second, on both sides"


def test_contexts_for_hosts_outside_are_kept(by):
    ring = Keyring()
    assert ring.outside(by.pem().decode()) is ring.outside(by.pem().decode())
    for _ in range(module.OUTSIDE + 1):
        ring.outside(trust().pem().decode())
    assert len(ring._outside) == module.OUTSIDE


def test_failures_are_counted_and_told_once_a_second(caplog):
    ring = Keyring()
    with caplog.at_level(logging.WARNING, "sidewinder.tls"):
        for number in range(100):
            ring.failed("server", "expired", f"192.0.2.{number}", "over")
        ring.failed("client", "expired", "192.0.2.1", "over")
    assert ring.counted == {("server", "expired"): 100, ("client", "expired"): 1}
    assert [line.getMessage() for line in caplog.records] == [
        "TLS with 192.0.2.0 failed (expired): over",
        "TLS with 192.0.2.1 failed (expired): over",
    ]


def _verification(code):
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, "why"
    return error


def _protocol(reason):
    error = ssl.SSLError(1, "x")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (_verification(10), ("expired", "why")),
        (_verification(20), ("untrusted", "why")),
        (_protocol("UNSUPPORTED_PROTOCOL"), ("version", "unsupported protocol")),
        (_protocol("HTTP_REQUEST"), ("protocol", "http request")),
        (ConnectionAbortedError(), ("timeout", "the handshake took too long")),
        (ConnectionResetError(), ("cut", "the peer closed the connection")),
    ],
    ids=["expired", "untrusted", "version", "protocol", "timeout", "cut"],
)
def test_what_a_handshake_ended_with(error, told):
    assert failure(error) == told
