"""`python -m sidewinder_operator.main`, which the image runs."""

from __future__ import annotations

from sidewinder_operator.main import main

main()
