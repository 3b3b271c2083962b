"""Every example runs as it is and does what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidewinder_operator.cli.main import main
from tests.support.local_mesh import EXAMPLES, Up, running

pytestmark = pytest.mark.live

FOLDERS = sorted(folder for folder in EXAMPLES.iterdir() if any(folder.glob("*.yaml")))
RATINGS = "ratings.bookinfo.localhost"
QUOTES = "quotes.shop.localhost"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_example_is_valid(folder: Path) -> None:
    result = CliRunner().invoke(main, ["validate", "-f", str(folder)])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def filters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running("filters", tmp_path_factory.mktemp("filters")) as up:
        up.ready()
        yield up


def test_a_redirect_keeps_host_and_port(filters: Up) -> None:
    host = f"{RATINGS}:{filters.port}"
    answer = filters.get(host, "/old-ratings")
    assert answer.status == 308
    assert answer.fields["location"] == f"http://{host}/ratings"


def test_captures_rewrite_path_and_headers(filters: Up) -> None:
    answer = filters.get(RATINGS, "/v2/ratings/7?verbose=1", fields={"x-debug": "1"})
    if answer.status == 503:  # of each block of a thousand one is a fault, so hardly two in a row are
        answer = filters.get(RATINGS, "/v2/ratings/7?verbose=1", fields={"x-debug": "1"})
    assert answer.fields["x-served-by"] == "sidewinder"
    seen = answer.json()
    assert seen["target"] == "/ratings/7?verbose=1"
    assert seen["fields"]["x-api-version"] == "2"
    assert "x-debug" not in seen["fields"]


def test_a_share_is_mirrored_compared_and_held(filters: Up) -> None:
    for _ in range(100):
        assert filters.get(RATINGS, "/v1/ratings/7?verbose=1").status in (200, 503)

    def shown() -> tuple[int, bool]:
        page = filters.get("127.0.0.1", "/mirror", port=filters.proxy("way-in")["ports"]["admin"]).json()
        [mirror] = page["mirrors"]
        return sum(mirror["copies"].values()), "body" in mirror["differences"]

    # The echo tells the header by which a copy is known, so its body differs.
    filters.until(lambda: shown() >= (5, True), "five of a hundred are copied")


@pytest.mark.parametrize("target", ["/v3/ratings/7?verbose=1", "/v2/ratings/7", "/v2/ratings/7x?verbose=1"])
def test_what_does_not_match_is_told_so(filters: Up, target: str) -> None:
    answer = filters.get(RATINGS, target)
    assert answer.status == 404
    assert "no rule of bookinfo/ratings:9080 matches" in answer.fields["proxy-status"]


def test_a_direct_response_needs_nobody(filters: Up) -> None:
    answer = filters.get(RATINGS, "/health/deep")
    assert (answer.status, answer.body, answer.fields["content-type"]) == (200, b"ok", "text/plain")


@pytest.fixture(scope="module")
def retries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running("retries", tmp_path_factory.mktemp("retries")) as up:
        up.ready()
        yield up


def statuses(up: Up, path: str, method: str = "GET", count: int = 40, **fields: str) -> Counter[int]:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return Counter(up.get(QUOTES, path, method=method, fields=headers).status for _ in range(count))


def test_a_failed_call_is_sent_once_more_to_the_other_one(retries: Up) -> None:
    assert statuses(retries, "/steady") == {200: 40}


def test_without_a_retry_every_other_call_fails(retries: Up) -> None:
    assert statuses(retries, "/once") == {200: 20, 503: 20}


def test_a_post_is_never_sent_twice_unless_it_says_that_it_may_be(retries: Up) -> None:
    assert statuses(retries, "/steady", "POST")[503] > 0
    assert statuses(retries, "/steady", "POST", idempotency_key="42") == {200: 40}


def test_a_cookie_brings_a_caller_back_and_a_subset_is_one_version(tmp_path: Path) -> None:
    host = "carts.shop.localhost"
    with running("balancing", tmp_path) as up:
        up.ready()
        replicas = set()
        for _ in range(30):
            first = up.get(host)
            cart = first.fields["set-cookie"].partition(";")[0]
            replica = first.json()["replica"]
            replicas.add(replica)
            back = [up.get(host, fields={"cookie": cart}).json() for _ in range(2)]
            assert [(each["replica"], each["things"]) for each in back] == [(replica, 1), (replica, 2)]
        assert len(replicas) == 3
        assert {up.get(host, fields={"x-beta": "yes"}).json()["version"] for _ in range(10)} == {"v2"}


def test_who_fails_its_health_checks_is_sent_nothing(tmp_path: Path) -> None:
    with running("resilience", tmp_path) as up:
        up.ready()

        def answering() -> set[str]:
            return {up.get("reviews-v2.bookinfo.localhost").body.decode().strip() for _ in range(30)}

        everybody = answering()
        assert len(everybody) == 3
        bad = min(everybody)
        (up.folder / f"sick-{bad}").touch()
        up.until(lambda: answering() == everybody - {bad}, "16 s, and what a busy machine adds", 60)
