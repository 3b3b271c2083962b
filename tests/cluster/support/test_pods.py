"""Which commands count as done; the streams themselves are tested on a cluster (test_kubectl.py)."""

from __future__ import annotations

import pytest
from kubernetes.client import Configuration

from tests.cluster.bed.waiting import BedError
from tests.cluster.support.pods import Done, Pods


@pytest.mark.parametrize(("status", "fails"), [(0, False), (7, True)])
def test_a_status_other_than_0_is_an_error_with_what_was_said(
    monkeypatch: pytest.MonkeyPatch, status: int, fails: bool
) -> None:
    pods = Pods(Configuration(), "shop")
    monkeypatch.setattr(pods, "run", lambda *words, **options: Done(status, "out", "err"))
    if not fails:
        assert pods.check("a", "ls") == "out"
        return
    with pytest.raises(BedError, match=r"a: ls: status 7\nouterr"):
        pods.check("a", "ls")
