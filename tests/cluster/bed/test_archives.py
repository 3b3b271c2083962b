"""Image archives: the same files give the same image, and it says what it holds."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from tests.cluster.bed import archives


def test_an_archive_is_reproducible_and_consistent(tmp_path: Path) -> None:
    source = tmp_path / "program"
    source.write_text("content")
    (tmp_path / "link").symlink_to(source)
    made = []
    for name in ("one.tar", "two.tar"):
        archives.write(tmp_path / name, "bed.local/x:1", {"bin/x": tmp_path / "link"}, {"Entrypoint": ["/bin/x"]})
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "one.tar") as tar:
        parts = {entry.name: reader.read() for entry in tar if (reader := tar.extractfile(entry))}
    config = json.loads(parts["config.json"])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(parts['layer.tar']).hexdigest()}"]
    assert json.loads(parts["manifest.json"])[0]["RepoTags"] == ["bed.local/x:1"]
    (tmp_path / "layer.tar").write_bytes(parts["layer.tar"])
    with tarfile.open(tmp_path / "layer.tar") as layer:
        (entry,) = layer.getmembers()
    assert (entry.name, entry.isfile(), entry.mode, entry.uid, entry.mtime) == ("bin/x", True, 0o755, 0, 0)
