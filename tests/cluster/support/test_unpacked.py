"""Archives of layers, plain and compressed, become a folder; what runs there is the image's user."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

from tests.cluster.support.unpacked import unpack


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_layers_are_put_upon_each_other_and_counted(tmp_path: Path) -> None:
    blobs: dict[str, bytes] = {}

    def keep(name: str, content: bytes, kind: str = "") -> dict[str, str]:
        blobs[f"blobs/sha256/{name}"] = content
        return {"digest": f"sha256:{name}", "mediaType": kind}

    layers = [
        keep("a", packed({"x": b"first", "y": b"y"}), "tar"),
        keep("b", gzip.compress(packed({"x": b"second"})), "tar+gzip"),
    ]
    config = keep("c", json.dumps({"config": {"User": "65533:65533"}}).encode())
    manifest = keep("m", json.dumps({"layers": layers, "config": config}).encode())
    archive = tmp_path / "image.tar"
    archive.write_bytes(packed({"index.json": json.dumps({"manifests": [manifest]}).encode(), **blobs}))
    found = unpack(archive, tmp_path / "root")
    assert (found.root / "x").read_bytes() == b"second"
    assert found.size == 12
    assert found.config == {"User": "65533:65533"}
