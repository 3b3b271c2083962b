"""What is kept of copies: counts over plans, the latest samples, and a bound on all of it."""

from __future__ import annotations

from sidewinder_sidecar.filters.mirror import tally
from sidewinder_sidecar.means import Means


def test_a_place_keeps_its_tally():
    means = Means()
    assert list(tally.every(means)) == []
    one = tally.of(means, "shop/reviews", "everyone", "v2")
    one.count("answered")
    one.count("answered")
    assert tally.of(means, "shop/reviews", "everyone", "v2") is one
    assert tally.of(means, "shop/reviews", "everyone", "v3") is not one
    assert one.results == {"answered": 2}
    assert set(one.results) <= set(tally.RESULTS)


def test_so_many_places_and_the_latest():
    means = Means()
    first = tally.of(means, "r", "0", "b")
    for number in range(1, tally.MOST):
        tally.of(means, "r", str(number), "b")
    assert tally.of(means, "r", "0", "b") is first, "used again: it is the latest"
    tally.of(means, "r", "new", "b")
    places = [place for place, _ in tally.every(means)]
    assert len(places) == tally.MOST
    assert ("r", "0", "b") in places
    assert ("r", "1", "b") not in places


def test_samples_are_the_latest_and_bounded():
    made = tally.Tally(lambda: 12.34567)
    for number in range(100):
        made.compared({"status": {"original": 200, "mirror": number}}, b"GET", b"/" + b"p" * 1000, b"id-1")
    made.compared({}, b"GET", b"/", b"")
    made.uncompared()
    assert (made.same, made.unlike, made.unsettled, made.differing) == (1, 100, 1, {"status": 100})
    assert len(made.samples) == tally.MOST_SAMPLES
    assert made.samples[-1]["status"]["mirror"] == 99
    assert (made.samples[0]["time"], len(made.samples[0]["path"])) == (12.346, tally.LONGEST_PATH)


def test_a_path_that_is_no_text_is_shown_all_the_same():
    made = tally.Tally(lambda: 0.0)
    made.compared({"body": {"original": 1, "mirror": 2}}, b"G\xffT", b"/\xff", b"")
    assert made.samples[0]["path"] == "/\\xff"
