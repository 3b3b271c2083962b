"""Starts PostgreSQL or Redis of the Debian packages, as the container's first process.

The only file of the `stores` image; called as its entrypoint with the name of the store. Data live in DATA, an
emptyDir; both accept everybody, in a cluster that nothing outside reaches.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

POSTGRES_BINARIES = "/usr/lib/postgresql"


def postgres(data: Path) -> list[str]:
    """The server's command, after the first start has made the data directory."""
    newest = max(Path(POSTGRES_BINARIES).iterdir(), key=lambda path: int(path.name))
    cluster = data / "postgres"
    if not (cluster / "PG_VERSION").exists():
        made = [f"{newest}/bin/initdb", "--auth=trust", "--username=postgres", "--no-sync", "-D", str(cluster)]
        subprocess.run(made, check=True, stdout=sys.stderr)
        with (cluster / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\n")
    settings = ("listen_addresses=*", f"unix_socket_directories={data}", "fsync=off")
    return [f"{newest}/bin/postgres", "-D", str(cluster), *(word for setting in settings for word in ("-c", setting))]


def redis(data: Path) -> list[str]:
    return ["/usr/bin/redis-server", "--dir", str(data), "--protected-mode", "no", "--save", "", "--bind", "*", "-::*"]


STORES = {"postgres": postgres, "redis": redis}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in STORES:
        sys.exit(f"say which store: {' or '.join(STORES)}")
    command = STORES[name](Path(os.environ.get("DATA", "/data")))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
