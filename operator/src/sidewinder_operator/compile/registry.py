"""Every section there is, as one table. A new section is a file with a `ROW` and a line here."""

from __future__ import annotations

from sidewinder_operator.compile import (
    adaptive_concurrency,
    authentication,
    authorization,
    circuit_breaker,
    concurrency,
    cors,
    health_check,
    load_balancing,
    mtls,
    redact,
    retry_constraint,
    size_limits,
)
from sidewinder_operator.compile.sections import Row

ROWS: tuple[Row, ...] = (
    load_balancing.ROW,
    retry_constraint.ROW,
    circuit_breaker.ROW,
    concurrency.ROW,
    health_check.ROW,
    mtls.ROW,
    authentication.ROW,
    authorization.ROW,
    cors.ROW,
    redact.ROW,
    adaptive_concurrency.ROW,
    size_limits.ROW,
)
