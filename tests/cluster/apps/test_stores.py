"""The commands that start the stores."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cluster.apps import stores


def test_postgres_is_the_newest_and_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binaries = tmp_path / "postgresql"
    for version in ("9", "17"):
        (binaries / version / "bin").mkdir(parents=True)
    initdb = binaries / "17" / "bin" / "initdb"
    initdb.write_text('#!/bin/sh\nfor folder; do :; done\nmkdir "$folder" && echo 17 > "$folder/PG_VERSION"\n')
    initdb.chmod(0o755)
    monkeypatch.setattr(stores, "POSTGRES_BINARIES", str(binaries))
    command = stores.postgres(tmp_path)
    assert command[:3] == [f"{binaries}/17/bin/postgres", "-D", str(tmp_path / "postgres")]
    assert "listen_addresses=*" in command
    assert "host all all all trust" in (tmp_path / "postgres/pg_hba.conf").read_text()
    initdb.unlink()
    assert stores.postgres(tmp_path) == command  # the data are there


def test_redis_keeps_nothing_and_answers_everybody(tmp_path: Path) -> None:
    command = stores.redis(tmp_path)
    assert command[0].endswith("redis-server")
    assert command[command.index("--dir") + 1] == str(tmp_path)
    assert command[command.index("--protected-mode") + 1] == "no"


def test_an_unknown_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stores.py", "oracle"])
    with pytest.raises(SystemExit, match="postgres or redis"):
        stores.main()
