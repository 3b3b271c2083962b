"""The chaos run's short form: real processes, one fault after the other, and no request lost that could be saved."""

from __future__ import annotations

import pytest

from tests.chaos.matrix import CASES, Case
from tests.chaos.network import NotRun
from tests.chaos.run import SHORT, patiently

pytestmark = pytest.mark.live


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name.replace(" ", "-")) for case in CASES if case.short])
def test_under(case: Case) -> None:
    try:
        result = patiently(case, SHORT)
    except NotRun as why:
        pytest.skip(str(why))
    assert result.sent > 60
    assert not result.faults, result
