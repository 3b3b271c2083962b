"""The local base image: Debian 13 with its optimised CPython 3.13, under the name that Dockerfiles expect.

Called by build.py before the first build; calls mmdebstrap. A registry that serves the same name need not be reached,
and every machine measures with the same interpreter.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from . import machine

NAME = "docker.io/library/python:3.13-slim"
SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# What the official image offers a Dockerfile: python3 and python, venv, certificates.
PACKAGES = ("ca-certificates", "python-is-python3", "python3", "python3-venv")
# A third of the size is for people at a terminal.
EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")
ENVIRONMENT = ("PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")


def digest() -> str:
    """Changes with what is asked for, not with the day: a newer Debian is fetched with `--fresh`."""
    return hashlib.sha256(repr((NAME, SUITE, PACKAGES, EXCLUDED, ENVIRONMENT)).encode()).hexdigest()


def command(target: Path, sources: list[str]) -> list[str]:
    """mmdebstrap's command line; without sources it uses the mirror it was made with."""
    exclusions = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        f"--keyring={KEYRING}",
        f"--include={','.join(PACKAGES)}",
        *exclusions,
        SUITE,
        str(target),
        *sources,
    ]


def bootstrap_command(target: Path) -> list[str]:
    """The command line with this machine's own mirrors."""
    return command(target, machine.own_debian_sources(SUITE))
