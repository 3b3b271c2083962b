"""Which of several refusals is told, and that nothing which a caller must not see is in any."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters.authenticate.refused import better, missing, refused
from sidewinder_sidecar.filters.authenticate.verdict import INVALID, MALFORMED, SCOPE, UNAVAILABLE, Refusal
from sidewinder_sidecar.messages import Reply

ORDER = [Refusal(error, "") for error in (MALFORMED, INVALID, UNAVAILABLE, SCOPE)]
ANSWER = Refusal(INVALID, "", reply=Reply(302))


@pytest.mark.parametrize("number", range(len(ORDER)))
def test_what_says_more_is_told(number: int) -> None:
    assert better(None, ORDER[number])
    for lesser in ORDER[:number]:
        assert better(lesser, ORDER[number])
        assert not better(ORDER[number], lesser)
    assert not better(ORDER[number], ORDER[number])
    assert better(ORDER[number], ANSWER)
    assert not better(ANSWER, ORDER[number])


def test_somebody_elses_answer_is_sent_as_it_is() -> None:
    assert refused(ANSWER, (), False) is ANSWER.reply


def test_nothing_to_show_has_no_challenge() -> None:
    assert missing(()).fields == ()


def test_what_is_said_cannot_end_its_field() -> None:
    reply = refused(Refusal(SCOPE, 'a"b\\c\r\nX: y', 'r"\\w'), (), True)
    assert reply.fields == (
        (
            b"www-authenticate",
            b'Bearer realm="sidewinder", error="insufficient_scope", error_description="a\'b?c??X: y", scope="r\'?w"',
        ),
    )
