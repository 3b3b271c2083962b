"""Takes a bed away when the process that owns it is gone, however that ended: SIGKILL leaves no time to clear up.

Started by bed.py for a bed with an owner, as `python guard.py FOLDER`, in a session of its own, so that what ends
the owner's group does not end the guard; calls nodes.py. `down` dismisses it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.cluster.bed.layout import Layout
from tests.cluster.bed.nodes import claimed, remove, sweep, wait_for_end
from tests.cluster.bed.waiting import started


def main() -> None:
    directory = Path(sys.argv[1])
    layout = Layout.load(directory)
    (directory / "guard").write_text(f"{os.getpid()} {started(os.getpid())}")
    assert layout.owner is not None
    wait_for_end(*layout.owner)
    remove(directory)
    if claimed().get(layout.identity) == directory:  # the owner's temporary folder was gone before we looked
        sweep(layout.identity)


if __name__ == "__main__":
    main()
