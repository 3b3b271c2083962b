"""One request and its answer."""

from __future__ import annotations

import json

import pytest

from tests.cluster.apps import echo, get, load
from tests.cluster.support.background import serving


def test_the_answer_or_the_status_that_came_instead() -> None:
    with serving(echo.Echo(echo.Self("pod-1", "", "", "", ""))) as port:
        url = f"http://127.0.0.1:{port}/a"
        told = json.loads(get.get(load.Job(url)))
        assert (told["target"], told["served"], told["of_loads"]) == ("/a", 1, 0), "who looks is no load"
        with pytest.raises(SystemExit, match="status 500: "):
            get.get(load.Job(f"{url}?status=500"))
        assert get.get(load.Job(f"{url}?status=500", statuses=("500",)))
