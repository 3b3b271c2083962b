"""A service whose requests are tried again, in memory."""

from __future__ import annotations

from typing import Any

from sidewinder_sidecar.snapshot.routes import RetrySpec
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec
from tests.support.memory import Scene, backend, rule, shop

RETRY = RetrySpec(
    attempts=2,
    codes=(502, 503, 504),
    conditions=("ConnectFailure", "ResetBeforeRequest"),
    backoff=0.025,
    max_backoff=0.25,
)
BACKOFF = 0.3  # longer than any


def scene_of(
    retry: RetrySpec | None = RETRY, addresses: int = 3, budget: BudgetSpec | None = None, **options: Any
) -> Scene:
    """One backend, with so many endpoints and these options of its rule."""
    options.setdefault("name", "everyone")
    return Scene(
        *shop(rule("v1", retry=retry, **options), backends=(backend("v1", addresses, budget=budget or BudgetSpec()),))
    )
