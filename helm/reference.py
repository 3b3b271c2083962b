"""docs/reference/chart.md from the chart's schema and its defaults. Run by `make chart`; a test proves it."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import yaml

CHART = pathlib.Path(__file__).parent / "sidewinder"
HEAD = """# Values of the chart

This page is written by `python helm/reference.py` from `helm/sidewinder/values.schema.json`; a test proves it in step.
Helm refuses a value that is not in it.

| value | type | default | meaning |
|---|---|---|---|
"""


def rows(schema: dict[str, Any], values: Any, path: str = "") -> Iterator[str]:
    """A row a value; a part of a value that is Kubernetes' own is one row."""
    for name, inner in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        if path == "" and name == "global":
            continue
        default = (values or {}).get(name)
        if inner.get("properties") and not here.endswith(".resources"):
            yield from rows(inner, default, here)
        else:
            kind = " or ".join(f"`{each}`" for each in inner["enum"]) if "enum" in inner else inner["type"]
            yield f"| `{here}` | {kind} | `{json.dumps(default)}` | {inner['description']} |"


def page() -> str:
    """The whole page."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return HEAD + "\n".join(rows(schema, values)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
