"""What a proxy's certificate looks like to people and machines, and what is said when something is wrong with it."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from rich.console import Console

from sidewinder_operator.cli import identity
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.identity import Unreadable, as_json, faults, look, show

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
PAGE = {
    "certificate": {
        "spiffe_id": "spiffe://cluster.local/ns/shop/sa/reviews",
        "pod_uid": "u-1",
        "serial": "5f",
        "not_before": "2026-01-01T12:00:00Z",
        "not_after": "2026-01-02T12:00:00Z",
        "renew_at": "2026-01-02T00:00:00Z",
    },
    "roots": [{"name": "Sidewinder, cluster.local", "sha256": "ab" * 32, "not_after": "2036-01-01T12:00:00Z"}],
    "usable": True,
    "enrolments": 1,
    "failures": 0,
    "fault": "",
}


class Proxy:
    """Answers like one, or like something else."""

    def __init__(self, page: object) -> None:
        self.page = page
        self.asked: list[tuple[str, str, int, str]] = []

    def ask(self, namespace: str, pod: str, port: int, path: str) -> object:
        self.asked.append((namespace, pod, port, path))
        return self.page


def found(**more: object) -> identity.Identity:
    return look(Proxy(PAGE | more), "shop", "reviews-1")


def said(of: identity.Identity, now: dt.datetime, capsys: pytest.CaptureFixture[str]) -> str:
    show(of, now, Voice(Console(width=240), Console(stderr=True, width=240)))
    out, err = capsys.readouterr()
    return out + err


def test_the_admin_port_is_asked() -> None:
    proxy = Proxy(PAGE)
    look(proxy, "shop", "reviews-1")
    assert proxy.asked == [("shop", "reviews-1", 15000, "/identity")]


def test_people_see_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(found(), NOON + HOUR, capsys)
    for part in (
        "spiffe://cluster.local/ns/shop/sa/reviews (pod u-1)",
        "serial 5f, from 2026-01-01 12:00:00 UTC",
        "until 2026-01-02 12:00:00 UTC (23 h 0 min left)",
        "to be renewed at 2026-01-02 00:00:00 UTC",
        "trusts Sidewinder, cluster.local, sha256 abababababababab, until 2036-01-01 12:00:00 UTC",
    ):
        assert part in told
    assert faults(found(), NOON + HOUR) == []


def test_machines_get_what_the_proxy_said() -> None:
    assert json.loads(as_json(found())) == PAGE


@pytest.mark.parametrize(
    ("hours", "more", "told"),
    [
        (12.2, {}, []),
        (12.3, {}, ["the renewal is late by 18 min 0 s"]),
        (
            14.5,
            {"fault": "refused with 401: no"},
            ["the renewal is late by 2 h 30 min", "enrolment: refused with 401: no"],
        ),
        (24, {}, ["the certificate has ended: what was configured serves on, and nothing new comes"]),
        (0, {"certificate": None}, ["there is no certificate: what was kept serves on, and no configuration comes"]),
    ],
)
def test_what_is_wrong_is_said(
    hours: float, more: dict[str, object], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one, now = found(**more), NOON + hours * HOUR
    assert faults(one, now) == told
    shown = said(one, now, capsys)
    assert all(line in shown for line in told)


@pytest.mark.parametrize("page", [{}, [], PAGE | {"certificate": 1}, PAGE | {"roots": [{"name": "x"}]}])
def test_what_is_no_proxy_of_ours_is_told(page: object) -> None:
    with pytest.raises(Unreadable, match="shop/reviews-1 answers, but not like a proxy of this version"):
        look(Proxy(page), "shop", "reviews-1")


@pytest.mark.parametrize(
    ("seconds", "told"), [(-5, "0 min 0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")]
)
def test_spans_in_two_units(seconds: int, told: str) -> None:
    assert identity._span(dt.timedelta(seconds=seconds)) == told
