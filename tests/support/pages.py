"""Markdown pages as the tests of the documentation see them: fenced blocks, inline code, links, tables, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block, and the prose between the one before and it."""

    language: str
    text: str
    before: str


class Page:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()
        self.prose = _FENCE.sub("", self.text)

    def blocks(self) -> Iterator[Block]:
        """The fenced blocks in order."""
        end = 0
        for found in _FENCE.finditer(self.text):
            yield Block(found[1], found[2], self.text[end : found.start()])
            end = found.end()

    def codes(self) -> list[str]:
        """All inline code outside of blocks."""
        return _CODE.findall(self.prose)

    def links(self) -> list[str]:
        """Where its links lead."""
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """The names of its headings, as a link writes them."""
        plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(self.prose))
        return {heading.strip().replace(" ", "-") for heading in plain}

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of all tables below a heading, without those of the head."""
        section = self.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        cells = [
            [cell.strip() for cell in line[1:-1].split(" | ")] for line in section.splitlines() if line.startswith("| ")
        ]
        assert cells, f"{self.name} has no table under {heading}"
        return cells[1:]

    def __repr__(self) -> str:
        return f"<Page {self.name}>"


def pages() -> list[Page]:
    """README, the guides, and all of docs/."""
    paths = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "benchmarks/README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
    return [Page(path) for path in sorted(paths)]
