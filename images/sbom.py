"""What is in an image, as SPDX 2.3 JSON: the Python packages of an environment and the Debian packages of the base.

`python3 sbom.py NAME VENV`, called by both Dockerfiles; prints to standard output. Without a time stamp, so that two
builds of the same inputs give the same bytes. Source: SPDX 2.3, sections 6 and 7; package URLs (purl-spec).
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path


def python_packages(environment: Path) -> Iterator[tuple[str, str, str]]:
    """(name, version, package URL) of what pip installed."""
    for found in distributions(path=[str(folder) for folder in environment.glob("lib/python3.*/site-packages")]):
        name = found.metadata["Name"].lower().replace("_", "-")
        if name != "pip":
            yield name, found.version, f"pkg:pypi/{name}@{found.version}"


def debian_packages() -> Iterator[tuple[str, str, str]]:
    """(name, version, package URL) of the base: the interpreter and its libraries come from it."""
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listed.stdout.splitlines():
        name, version, architecture = line.split()
        yield name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}"


def document(name: str, environment: Path) -> dict[str, object]:
    """The whole document."""
    packages = [
        {
            "SPDXID": f"SPDXRef-{number}",
            "name": package,
            "versionInfo": version,
            "downloadLocation": "NOASSERTION",
            "externalRefs": [
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}
            ],
        }
        for number, (package, version, locator) in enumerate(
            sorted([*python_packages(environment), *debian_packages()])
        )
    ]
    content = hashlib.sha256(json.dumps(packages).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name} on CPython {platform.python_version()}",
        "documentNamespace": f"https://sidewinder.dev/sbom/{name}/{content[:32]}",
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: sbom.py"]},
        "packages": packages,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": package["SPDXID"],
            }
            for package in packages
        ],
    }


if __name__ == "__main__":
    json.dump(document(sys.argv[1], Path(sys.argv[2])), sys.stdout, indent=1)
