"""Every section there is, as one table. A new section is a file with a `ROW` and a line here."""

from __future__ import annotations

from sidewinder_operator.compile import load_balancing, retry_constraint
from sidewinder_operator.compile.sections import Row

ROWS: tuple[Row, ...] = (load_balancing.ROW, retry_constraint.ROW)
