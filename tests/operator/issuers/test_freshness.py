"""When keys are fetched again: the headers within their bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.issuers.freshness import FIRST_PAUSE, LEAST, LONGEST_PAUSE, MOST, again, lifetime, pause


@pytest.mark.parametrize(
    ("headers", "at_most", "seconds"),
    [
        pytest.param({}, 600, 600, id="nothing said"),
        pytest.param({"cache-control": "max-age=120"}, 600, 120, id="less"),
        pytest.param({"cache-control": "public, max-age=3600"}, 600, 600, id="more"),
        pytest.param({"cache-control": "max-age=3600, s-maxage=90"}, 600, 90, id="shared"),
        pytest.param({"cache-control": "max-age=120", "age": "60"}, 600, 60, id="old already"),
        pytest.param({"cache-control": "MAX-AGE=120"}, 600, 120, id="capitals"),
        pytest.param({"cache-control": 'max-age="120"'}, 600, 120, id="quoted"),
        pytest.param({"cache-control": "max-age=0"}, 600, LEAST, id="at once"),
        pytest.param({"cache-control": "no-store"}, 600, LEAST, id="never"),
        pytest.param({"cache-control": "no-cache, max-age=300"}, 600, LEAST, id="never, and a time"),
        pytest.param({"cache-control": "private, max-age=300"}, 600, 300, id="for one reader: that is us"),
        pytest.param({"cache-control": "max-age=-5"}, 600, 600, id="no number"),
        pytest.param({"cache-control": "max-age=" + "9" * 40}, 90_000, MOST, id="for ever"),
        pytest.param({"cache-control": "xmax-age=5"}, 600, 600, id="another word"),
        pytest.param(
            {"expires": "Thu, 01 Jan 2026 00:02:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"},
            600,
            120,
            id="expires",
        ),
        pytest.param({"expires": "0"}, 600, LEAST, id="expires: a number"),
        pytest.param({"expires": "Thu, 01 Jan 1970 00:00:00 GMT"}, 600, LEAST, id="expires: long ago"),
        pytest.param({}, 1e9, MOST, id="a policy for ever"),
    ],
)
def test_lifetime(headers, at_most, seconds):
    assert lifetime(headers, at_most) == seconds


@given(st.dictionaries(st.sampled_from(["cache-control", "expires", "date", "age"]), st.text()), st.floats(30, 86400))
def test_no_header_leads_out_of_the_bounds(headers, at_most):
    assert LEAST <= lifetime(headers, at_most) <= at_most


def test_nobody_comes_in_step_and_always_in_time():
    assert again(100, 0.0) == pytest.approx(80)
    assert again(100, 1.0) == pytest.approx(100)


def test_failures_come_again_ever_later():
    longest = [pause(failures, 1.0) for failures in range(1, 12)]
    assert longest[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert longest[-1] == pause(10_000, 1.0) == LONGEST_PAUSE
    assert pause(3, 0.0) == 2 * FIRST_PAUSE
