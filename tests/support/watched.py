"""A service in memory whose endpoints are watched: what is told of each try is written down."""

from __future__ import annotations

from typing import Any

from sidewinder_sidecar.snapshot.routes import RetrySpec
from tests.support.memory import Scene, backend, rule, shop

RETRY = RetrySpec(attempts=2, codes=(429, 503), conditions=("ConnectFailure", "Reset"), backoff=0.01, max_backoff=0.01)


class Ledger:
    """An observer that writes down."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, float]] = []

    def settled(self, status: int, error: str, now: float, seconds: float) -> None:
        self.told.append((status, error, round(seconds, 3)))


def scene_of(
    addresses: int = 1, retry: Any = None, breaker: Any = None, concurrency: Any = None, **options: Any
) -> Scene:
    """One backend, with what is said of it; options are its rule's."""
    if retry is not None:
        options["retry"] = retry
    made = backend("v1", addresses, breaker=breaker, concurrency=concurrency)
    return Scene(*shop(rule("v1", **options), backends=(made,)))


def watched(**options: Any) -> tuple[Scene, Ledger]:
    """That, with a ledger at each endpoint."""
    scene, ledger = scene_of(**options), Ledger()
    for endpoint in scene.made:
        endpoint.watch(ledger)
    target = scene.fleet.backends["v1"]
    target.reshape(scene.clock())
    return scene, ledger
