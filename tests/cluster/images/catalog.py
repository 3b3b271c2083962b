"""The images there are. A new Dockerfile gets a line here and nothing else.

Called by the command line and the fixtures; calls recipe.py.
"""

from __future__ import annotations

from .recipe import Image

APPS = Image(
    "apps", "tests/cluster/apps/Dockerfile", ("tests/cluster/apps/*.py", "tests/cluster/apps/requirements.lock")
)
STORES = Image("stores", "tests/cluster/apps/Dockerfile.stores", ("tests/cluster/apps/stores.py",))
SIDECAR = Image(
    "sidewinder-sidecar",
    "Dockerfile.sidecar",
    (
        "sidecar/requirements*.lock",
        "sidecar/setup.py",
        "sidecar/pyproject.toml",
        "sidecar/src/**/*.py",
        "images/*.py",
    ),
)
OPERATOR = Image(
    "sidewinder-operator",
    "Dockerfile.operator",
    ("operator/requirements.lock", "sidecar/src/**/*.py", "operator/src/**/*.py", "images/*.py"),
)

ALL = {image.name: image for image in (APPS, STORES, SIDECAR, OPERATOR)}
