"""The applications' lock is a part of the workspace's."""

from __future__ import annotations

import pytest

from tests.cluster.images import requirements


def test_it_is_in_step() -> None:
    message = "run: .venv/bin/python -m tests.cluster.images.requirements"
    assert requirements.APPS_LOCK.read_text() == requirements.wanted(), message


def test_a_subset_keeps_hashes_and_order() -> None:
    lock = "a==1 \\\n    --hash=sha256:1\nb==2 \\\n    --hash=sha256:2\nc==3\n"
    assert requirements.subset(lock, ("c", "a")) == "a==1 \\\n    --hash=sha256:1\nc==3\n"


def test_a_package_that_is_gone_is_named() -> None:
    with pytest.raises(KeyError, match="has no d"):
        requirements.subset("a==1\n", ("a", "d"))
