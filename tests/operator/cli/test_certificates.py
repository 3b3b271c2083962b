"""Certificates of running proxies as `sidewinder check` tells of them: ended, late, silent, well."""

from __future__ import annotations

import datetime as dt

from sidewinder_operator.cli.certificates import certificates
from tests.support.kubectl import FakeKubectl

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def page(expires_in: float, renews_in: float) -> str:
    now = NOW.timestamp()
    return (
        "# TYPE sidewinder_identity_expires_timestamp_seconds gauge\n"
        f"sidewinder_identity_expires_timestamp_seconds {now + expires_in:.0f}\n"
        f"sidewinder_identity_renews_timestamp_seconds {now + renews_in:.0f}\n"
    )


def told(**pages: str | None) -> list[tuple[str, str, str]]:
    things = {f"/api/v1/namespaces/shop/pods/{pod}:15021/proxy/metrics": text for pod, text in pages.items() if text}
    return [
        (each.level, each.message, each.advice) for each in certificates(FakeKubectl(things), "shop", tuple(pages), NOW)
    ]


def test_those_that_hold_are_counted() -> None:
    assert told(a=page(86_400, 43_200), b=page(50_000, -600)) == [
        ("ok", "certificates of 2 proxies hold and are renewed", "")
    ]


def test_those_that_have_ended_and_those_that_are_late_are_named() -> None:
    assert told(a=page(-1, -40_000), b=page(40_000, -1000), c="", d="# nothing of it\n") == [
        ("error", "the proxies of a, d have no certificate that holds: no configuration reaches them",
         "sidewinder identity a --namespace shop says why"),
        ("warning", "the proxies of b could not renew their certificate when they should have",
         "sidewinder identity b --namespace shop says why"),
        ("warning", "the proxies of c could not be asked",
         "check with the right to get pods/proxy, and whether nodes reach port 15021"),
    ]  # fmt: skip


def test_of_many_some_are_asked() -> None:
    many = {f"p{number:02}": page(86_400, 43_200) for number in range(50)}
    assert told(**many) == [("ok", "certificates of 10 proxies hold and are renewed", "")]


def test_where_there_are_none_nothing_is_said() -> None:
    assert told() == []
