"""A retry over two proxies that speak mTLS: what the application is told, and who is not believed. Real processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.authority import DOMAIN, trust
from tests.support.identities import identity, named
from tests.support.sidecar import Backend, Sidecar, backend, sidecar, snapshot

pytestmark = pytest.mark.live

REVIEWS = f"spiffe://{DOMAIN}/ns/shop/sa/reviews"
RETRY = {"attempts": 2, "codes": [503], "backoff": 0.01, "max_backoff": 0.02}


@pytest.fixture
def app() -> Iterator[Backend]:
    with backend() as one:
        yield one


@pytest.fixture
def hops(tmp_path: Path, app: Backend) -> Iterator[tuple[Sidecar, int, Sidecar, int]]:
    """The called proxy and the calling one, each with the port it serves on. Only the latter retries."""
    by = trust()
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir(), outside.mkdir()
    identity(inside / "id", by, named("reviews"))
    identity(outside / "id", by, named("web"))
    with sidecar(inside, snapshot(app.port), IDENTITY=str(inside / "id")) as called:
        port = called.ready()
        calling = snapshot(port, retry=RETRY)
        calling["listener/in"] |= {"direction": "Outbound"}
        [endpoint] = calling["endpoints/shop/reviews:9080"]["endpoints"]
        endpoint["identity"] = REVIEWS
        with sidecar(outside, calling, IDENTITY=str(outside / "id")) as caller:
            yield called, port, caller, caller.ready()


def attempts(app: Backend) -> list[str | None]:
    return [dict(asked["headers"]).get("x-sidewinder-attempt") for asked in app.asked]


def test_the_application_is_told_which_try_it_is(app: Backend, hops: tuple[Sidecar, int, Sidecar, int]) -> None:
    _, _, caller, outside = hops
    app.status = lambda path: 503 if len(app.asked) < 3 else 200
    assert caller.ask(outside, "/", host="reviews").status == 200
    assert attempts(app) == [None, "2", "3"]
    [line] = caller.log(1)
    assert (line["status"], line["retries"]) == (200, 2)


def test_who_has_no_certificate_is_not_believed(app: Backend, hops: tuple[Sidecar, int, Sidecar, int]) -> None:
    called, inside, caller, outside = hops
    assert called.ask(inside, "/plain", host="reviews", x_sidewinder_attempt="2").status == 200
    assert caller.ask(outside, "/own", host="reviews", x_sidewinder_attempt="2").status == 200
    assert attempts(app) == [None, "2"]


def test_three_proxies_that_all_retry_do_not_multiply_what_fails(tmp_path: Path, app: Backend) -> None:
    """Two retries on each of three would be 27 requests for one, and 1.73 with budgets of 20 % that nobody charges."""
    by, asked = trust(), 200
    budget = {"percent": 20, "interval": 60.0, "min_count": 1, "min_interval": 3600.0}
    app.status = lambda path: 503
    with ExitStack() as running:
        port = app.port
        for number, who in enumerate(("reviews", "details", "web")):
            folder = tmp_path / who
            folder.mkdir()
            identity(folder / "id", by, named(who))
            fixed = snapshot(port, retry=RETRY)
            fixed["backend/shop/reviews:9080"]["budget"] = budget
            if number:
                [endpoint] = fixed["endpoints/shop/reviews:9080"]["endpoints"]
                endpoint["identity"] = f"spiffe://{DOMAIN}/ns/shop/sa/{('reviews', 'details')[number - 1]}"
            proxy = running.enter_context(sidecar(folder, fixed, IDENTITY=str(folder / "id")))
            port = proxy.ready()
        statuses = {proxy.ask(port, "/", host="reviews").status for _ in range(asked)}
    assert statuses == {503}
    assert asked * 1.2 < len(app.asked) < asked * 1.6 + 10, "each adds a fifth of what was asked, not of what it gets"
    assert max(int(number or 1) for number in attempts(app)) <= 7, "first, and two retries by each"
