"""`pytest tests/golden --rewrite` (`make golden`) writes the golden files anew instead of comparing them."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the golden files instead of comparing them")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether to write; from elsewhere than this folder the option does not exist."""
    return bool(request.config.getoption("--rewrite", default=False))
