"""The part of the workspace's lock that an image needs: one version and one set of hashes for both.

`python -m tests.cluster.images.requirements` rewrites the file after `make lock`; a test says when that is due.
"""

from __future__ import annotations

import re

from .recipe import ROOT

# The OTLP receiver's: the messages and what they are made with.
APPS = ("opentelemetry-proto", "protobuf")
APPS_LOCK = ROOT / "tests/cluster/apps/requirements.lock"


def subset(lock: str, names: tuple[str, ...]) -> str:
    """The lock's entries of these packages, in its order. A package that is not there is an error."""
    entries = {}
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        entries[entry.partition("==")[0]] = entry
    if absent := [name for name in names if name not in entries]:
        raise KeyError(f"requirements.lock has no {', '.join(absent)}")
    return "".join(entry + "\n" for name, entry in entries.items() if name in names)


def wanted() -> str:
    return subset((ROOT / "requirements.lock").read_text(), APPS)


if __name__ == "__main__":
    APPS_LOCK.write_text(wanted())
