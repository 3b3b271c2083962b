"""Where API keys are kept: a Secret in the cluster, or in the manifests of local mode. Asked by `cli/apikey`.

A Secret is changed entry by entry, so that two people at once lose nothing; one that is not there is made.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from sidewinder_operator.cli.kubectl import Kubectl
from sidewinder_operator.local.files import SUFFIXES
from sidewinder_operator.local.manifest import Manifest, parse
from sidewinder_operator.local.secret_edit import Uneditable, edit, entries, find, new
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.names import Namespace, ObjectName

OWN_MODE = 0o600  # of a file that is made: hashes are nobody's business


class Store(Protocol):
    """One Secret."""

    def read(self) -> dict[str, str]:
        """Its entries; none where it is not there."""

    def change(self, changes: Mapping[str, str | None]) -> None:
        """Set entries; None takes one out."""


class InCluster:
    """Through kubectl. Raises what it raises."""

    def __init__(self, kubectl: Kubectl, namespace: str, name: str) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._name = name
        self._folder = f"/api/v1/namespaces/{namespace}/secrets"

    def read(self) -> dict[str, str]:
        found: Any = self._kubectl.find(f"{self._folder}/{self._name}")
        data = (found or {}).get("data") or {}
        return {name: base64.b64decode(value).decode("utf-8", "replace") for name, value in data.items()}

    def change(self, changes: Mapping[str, str | None]) -> None:
        values = {name: value for name, value in changes.items() if value is not None}
        if self._kubectl.find(f"{self._folder}/{self._name}") is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": values}
            self._kubectl.post(self._folder, body)
            return
        gone = {name: None for name, value in changes.items() if value is None}
        self._kubectl.patch("secret", self._namespace, self._name, {"stringData": values, "data": gone})


class InFiles:
    """In the manifests of local mode. Raises Uneditable."""

    def __init__(self, paths: Sequence[Path], namespace: str, name: str) -> None:
        self._paths = paths
        self._reference = Reference("Secret", namespace, name)

    def read(self) -> dict[str, str]:
        manifest = self._manifest()
        secret = find(manifest, self._reference) if manifest is not None else None
        return entries(secret) if secret is not None else {}

    def change(self, changes: Mapping[str, str | None]) -> None:
        manifest = self._manifest()
        if manifest is not None:
            _put(Path(manifest.name), edit(manifest, self._reference, changes))
            return
        folder = next((path for path in self._paths if path.is_dir()), None)
        if folder is None:
            raise Uneditable(
                f"{self._reference} is in none of these files: name a folder, or write it down without entries"
            )
        try:
            msgspec.convert((self._reference.namespace, self._reference.name), tuple[Namespace, ObjectName])
        except msgspec.ValidationError:  # a cluster would say so; here nothing else looks at it
            raise Uneditable(
                f"{self._reference}: neither namespace nor name may be like this, but like `keys-2`"
            ) from None
        file = folder / f"{self._reference.namespace}-{self._reference.name}.yaml"
        if file.exists():
            raise Uneditable(f"{file} is there, and does not hold {self._reference}")
        _put(file, new(self._reference, {name: value for name, value in changes.items() if value is not None}))

    def _manifest(self) -> Manifest | None:
        """The one file that has it."""
        found = []
        for file in self._files():
            try:
                manifest = parse(str(file), file.read_bytes())
            except OSError as fault:
                raise Uneditable(f"{file}: {fault.strerror}") from None
            found += [manifest for entry in manifest.entries if entry.reference == self._reference]
        if len(found) > 1:
            raise Uneditable(f"{self._reference} stands more than once: {', '.join(each.name for each in found)}")
        return found[0] if found else None

    def _files(self) -> list[Path]:
        files = []
        for path in self._paths:
            if not path.exists():
                raise Uneditable(f"{path} is not there")
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
            files += [file for file in inside if file.suffix in SUFFIXES and not file.name.startswith(".")]
        return files


def _put(file: Path, text: str) -> None:
    """All of it or nothing: whoever reads meanwhile never sees half of a file."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as writing:
            writing.write(text)
            writing.flush()
            os.fsync(writing.fileno())
        os.chmod(name, file.stat().st_mode & 0o7777 if file.exists() else OWN_MODE)
        os.replace(name, file)
    except OSError as fault:
        Path(name).unlink(missing_ok=True)
        raise Uneditable(f"{file}: {fault.strerror}") from None
