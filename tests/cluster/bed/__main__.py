"""`python tests/cluster/bed …`: the test bed as a program. Called by people and by make; calls cli.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[3])  # the checkout, instead of this folder

if __name__ == "__main__":
    from tests.cluster.bed.cli import main

    sys.exit(main())
