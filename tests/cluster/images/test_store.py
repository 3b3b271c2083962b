"""Buildah's command lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.images.store import EPOCH, Store, driver

STORE = Store(Path("/cache"), "overlay")
ROOT = "overlay / overlay rw 0 0\n"
DISK = "/dev/a / ext4 rw 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [(DISK, "overlay"), (ROOT, "vfs"), (ROOT + "/dev/b /home ext4 rw 0 0\n", "overlay"), ("", "overlay")],
    ids=["disk", "container", "volume in a container", "unknown"],
)
def test_the_driver_is_what_the_file_system_can(mounts: str, expected: str) -> None:
    assert driver(Path("/home/me/.cache"), mounts) == expected


def test_a_build_is_reproducible_alone_and_has_its_secrets() -> None:
    command = STORE.build("r.test/a:1", Path("/x/Dockerfile"), {"BASE": "b"}, ["--secret", "id=s,src=/s"])
    text = " ".join(command)
    assert command[:3] == ["buildah", "--root", "/cache/store"]
    assert f"--timestamp {EPOCH}" in text
    assert "--isolation chroot --network host" in text
    assert "--secret id=s,src=/s --build-arg BASE=b" in text
    assert command[-5:] == ["--file", "/x/Dockerfile", "--tag", "r.test/a:1", "."]


def test_an_archive_is_named_for_the_image_and_keeps_the_full_name() -> None:
    assert STORE.archive("r.test/apps:abc") == Path("/cache/apps-abc.tar")
    command = STORE.export("r.test/apps:abc", Path("/cache/new"))
    assert command[-2:] == ["r.test/apps:abc", "oci-archive:/cache/new:r.test/apps:abc"]


def test_a_push_goes_to_the_registry_under_the_same_path() -> None:
    command = STORE.push("sidewinder.test/apps:abc", "127.0.0.1:5000")
    assert command[-2:] == ["sidewinder.test/apps:abc", "docker://127.0.0.1:5000/apps:abc"]
    assert "--tls-verify=false" in command


def test_the_base_is_one_layer_with_an_environment() -> None:
    commands = STORE.base("docker.io/library/x:1", Path("/l.tar"), ("A=1",))
    assert [command[7] for command in commands] == ["from", "add", "config", "commit"]
    assert commands[2][8:10] == ["--env", "A=1"]
    assert commands[3][-1] == "docker.io/library/x:1"
