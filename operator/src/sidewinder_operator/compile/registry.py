"""Every section there is, as one table. A new section is a file with a `ROW` and a line here."""

from __future__ import annotations

from sidewinder_operator.compile import (
    authentication,
    authorization,
    cors,
    load_balancing,
    mtls,
    redact,
    retry_constraint,
)
from sidewinder_operator.compile.sections import Row

ROWS: tuple[Row, ...] = (
    load_balancing.ROW,
    retry_constraint.ROW,
    mtls.ROW,
    authentication.ROW,
    authorization.ROW,
    cors.ROW,
    redact.ROW,
)
