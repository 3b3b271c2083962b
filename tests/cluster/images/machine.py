"""What this machine's own configuration says about where packages come from and whom to trust.

Called by debian.py (the Debian mirror) and build.py (the secrets of a build); calls pip and apt to ask them. Nothing of
it is ever written into the tree or into an image: a build gets it as secrets, in files that go when the build ends.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile

# Where Debian, its derivatives, Fedora and the BSDs keep the bundle; the environment's word comes first.
TRUST_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
TRUST_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
# The settings that say where packages come from. Others (find-links to a local folder) mean nothing inside a build.
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
APT_SETTINGS = ("Check-Valid-Until", "Check-Date", "Retries", "http", "https")
SECRETS = "/run/secrets"


def _asked(*command: str) -> str:
    """What the program says; nothing if the machine does not have it."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    except FileNotFoundError:
        return ""


def pip_settings(listing: str) -> str:
    """A pip.conf for inside a build from `pip config list`; the environment overrules files, as pip does it."""
    files: dict[str, str] = {}
    environment: dict[str, str] = {}
    for line in listing.splitlines():
        place, _, value = line.partition("=")
        section, _, key = place.rpartition(".")
        if key in PIP_SETTINGS and value:
            (environment if section == ":env:" else files)[key] = str(ast.literal_eval(value))
    lines = ["[global]", f"cert = {SECRETS}/ca.crt"]
    for key, setting in (files | environment).items():
        lines.append(f"{key} = " + setting.strip().replace("\n", "\n  "))
    return "\n".join(lines) + "\n"


def apt_settings(dump: str) -> str:
    """An apt.conf for inside a build from `apt-config dump`: proxies, retries and checks of dates."""
    wanted = tuple(f"Acquire::{key}" for key in APT_SETTINGS)
    lines = [line for line in dump.splitlines() if line.startswith(wanted) and not line.endswith('"";')]
    return "\n".join([*lines, f'Acquire::https::CAInfo "{SECRETS}/ca.crt";']) + "\n"


def debian_sources(targets: str, suite: str) -> list[str]:
    """The machine's own Debian mirrors, with the suite the base image is made of; none on another distribution."""
    found: dict[str, str] = {}
    for line in targets.splitlines():
        address, origin, label = line.split("\t")
        if origin == "Debian" and label in ("Debian", "Debian-Security"):
            name = suite if label == "Debian" else f"{suite}-security"
            found.setdefault(name, f"deb {address} {name} main")
    return sorted(found.values()) if suite in found else []


def own_debian_sources(suite: str) -> list[str]:
    """What apt on this machine uses. Empty means that mmdebstrap takes the mirror it was made with."""
    columns = "$(REPO_URI)\t$(ORIGIN)\t$(LABEL)"
    return debian_sources(_asked("apt-get", "indextargets", "--format", columns, "Created-By: Packages"), suite)


def trust_store(environment: Mapping[str, str] = os.environ) -> Path:
    """The bundle of certificates that programs on this machine believe."""
    named = [environment[name] for name in TRUST_VARIABLES if environment.get(name)]
    for name in (*named, *TRUST_FILES):
        if Path(name).is_file():
            return Path(name)
    raise FileNotFoundError(f"no trust store: none of {', '.join(TRUST_FILES)} is there; name one in SSL_CERT_FILE")


@contextmanager
def secrets() -> Iterator[list[str]]:
    """The arguments that hand the machine's settings to a build, as files that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sidewinder-secrets-") as name:
        folder = Path(name)
        (folder / "pip.conf").write_text(pip_settings(_asked(sys.executable, "-m", "pip", "config", "list")))
        (folder / "apt.conf").write_text(apt_settings(_asked("apt-config", "dump")))
        copyfile(trust_store(), folder / "ca.crt")
        yield [word for path in sorted(folder.iterdir()) for word in ("--secret", f"id={path.name},src={path}")]
