"""One version, wherever it stands: distributions, chart, and what both processes say of themselves."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from sidewinder_operator import VERSION
from sidewinder_sidecar.main import pages

ROOT = Path(__file__).parents[2]


def test_the_version_is_one() -> None:
    chart = yaml.safe_load((ROOT / "helm/sidewinder/Chart.yaml").read_text())
    found = {
        "operator": VERSION,
        "sidecar": pages.VERSION,
        "chart": chart["version"],
        "appVersion": chart["appVersion"],
    }
    for part in ("operator", "sidecar"):
        found[f"{part}/pyproject.toml"] = tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"][
            "version"
        ]
    assert set(found.values()) == {VERSION}, found
