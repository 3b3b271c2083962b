"""`python -m tests.cluster.images [NAME…]` builds images and prints what nodes and people need to use them.

Called by `make images`; calls build.py.
"""

from __future__ import annotations

import argparse
import sys

from tests.cluster.bed.waiting import BedError

from . import build, catalog


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.images", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(catalog.ALL)}; all if none is given")
    parser.add_argument("--fresh", action="store_true", help="make the base image again, with today's packages")
    chosen = parser.parse_args(words)
    if unknown := [name for name in chosen.names if name not in catalog.ALL]:
        parser.error(f"no image is called {unknown[0]}; there are {', '.join(catalog.ALL)}")
    for number, name in enumerate(chosen.names or catalog.ALL):
        try:
            made = build.build(catalog.ALL[name], fresh=chosen.fresh and number == 0)
        except (build.BuildError, BedError) as error:
            print(error, file=sys.stderr)
            return 1
        print(
            f"{made.reference}  {made.archive}  {made.archive.stat().st_size >> 20} MB  {made.seconds:.1f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
