"""`sidewinder-operator`: the process. Read `process.Process.run` for the recipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sidewinder_operator.settings import read_or_exit


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: serves until SIGTERM."""
    words = sys.argv[1:] if arguments is None else arguments
    if words:
        sys.stderr.write(
            f"sidewinder-operator: takes no arguments, not {' '.join(words)!r}; settings are SIDEWINDER_*\n"
        )
        raise SystemExit(2)
    settings = read_or_exit()
    # Only now, so that a mistake in the environment is told before anything heavy is loaded.
    from sidewinder_operator.main import memory

    memory.tune()
    import uvloop

    from sidewinder_operator.main import json_log, process
    from sidewinder_operator.main.doors import Unable

    memory.freeze()
    json_log.configure(settings.log_level)
    try:
        uvloop.run(process.serve(settings))
    except Unable as fault:
        sys.stderr.write(f"sidewinder-operator: {fault}\n")
        raise SystemExit(1) from None
