"""What tests of checks over mTLS share: the files of two proxies' identities."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.authority import trust
from tests.support.identities import identity, named


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    by, folder = trust(), tmp_path_factory.mktemp("identities")
    identity(folder / "web", by, named("web"))
    identity(folder / "reviews", by, named("reviews"))
    return folder
