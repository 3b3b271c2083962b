"""`python -m sidewinder_sidecar.main`, which the image runs."""

from __future__ import annotations

from sidewinder_sidecar.main import main

main()
