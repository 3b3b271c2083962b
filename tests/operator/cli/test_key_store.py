"""Where keys are kept: kubectl is told of single entries, files are replaced whole."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from sidewinder_operator.cli.key_store import InCluster, InFiles
from sidewinder_operator.local.secret_edit import Uneditable


class Cluster:
    """One Secret, as the API server would merge it."""

    def __init__(self, data: dict[str, str] | None) -> None:
        self.data = data
        self.patches: list[Any] = []

    def find(self, path: str) -> Any | None:
        assert path == "/api/v1/namespaces/shop/secrets/keys"
        if self.data is None:
            return None
        return {"data": {name: base64.b64encode(value.encode()).decode() for name, value in self.data.items()}}

    def post(self, path: str, body: Any) -> Any:
        assert path == "/api/v1/namespaces/shop/secrets"
        assert body["metadata"] == {"name": "keys", "namespace": "shop"}
        self.data = dict(body["stringData"])

    def patch(self, kind: str, namespace: str, name: str, body: Any) -> None:
        assert (kind, namespace, name) == ("secret", "shop", "keys")
        assert self.data is not None
        self.patches.append(body)
        self.data = {**self.data, **body["stringData"]}
        for gone in body["data"]:
            self.data.pop(gone, None)


def test_a_secret_is_made_and_changed_entry_by_entry() -> None:
    cluster = Cluster(None)
    store = InCluster(cluster, "shop", "keys")  # type: ignore[arg-type]
    assert store.read() == {}
    store.change({"a": "1"})
    store.change({"b": "2", "a": None})
    assert cluster.patches == [{"stringData": {"b": "2"}, "data": {"a": None}}]
    assert store.read() == {"b": "2"}


def test_a_secret_without_entries() -> None:
    class Empty(Cluster):
        def find(self, path: str) -> Any:
            return {"metadata": {}}

    assert InCluster(Empty({}), "shop", "keys").read() == {}  # type: ignore[arg-type]


def test_files(tmp_path: Path) -> None:
    store = InFiles([tmp_path], "shop", "keys")
    assert store.read() == {}
    store.change({"a": "1"})
    [file] = tmp_path.iterdir()
    assert file.name == "shop-keys.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    store.change({"a": None, "b": "2"})
    assert store.read() == {"b": "2"}
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["shop-keys.yaml"]


def test_what_is_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shop-keys.yaml").write_text("# mine\n")
    with pytest.raises(Uneditable, match="is there"):
        InFiles([tmp_path], "shop", "keys").change({"a": "1"})
    assert (tmp_path / "shop-keys.yaml").read_text() == "# mine\n"


@pytest.mark.parametrize(("namespace", "name"), [("shop", "UPPER_case"), ("shop", "../keys"), ("../shop", "keys")])
def test_a_secret_is_not_made_under_what_is_no_name(tmp_path: Path, namespace: str, name: str) -> None:
    with pytest.raises(Uneditable, match="neither namespace nor name"):
        InFiles([tmp_path], namespace, name).change({"a": "1"})
    assert not list(tmp_path.iterdir())


def test_files_that_do_not_say_where(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("")
    with pytest.raises(Uneditable, match="name a folder"):
        InFiles([file], "shop", "keys").change({"a": "1"})
    with pytest.raises(Uneditable, match="not there"):
        InFiles([tmp_path / "b.yaml"], "shop", "keys").read()


def test_a_secret_that_stands_twice(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: shop}\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(Uneditable, match="more than once"):
        InFiles([tmp_path], "shop", "keys").change({"a": "1"})


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(Uneditable, match="No space"):
        InFiles([tmp_path], "shop", "keys").change({"a": "1"})
    assert list(tmp_path.iterdir()) == []
