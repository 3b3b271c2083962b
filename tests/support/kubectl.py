"""A cluster as `cli.kubectl` shows it, from a table of paths: for the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sidewinder_operator.cli.kubectl import Refused


class FakeKubectl:
    """`things` by path; `forbidden` paths and rights; `refusal` is what every dry run is answered with."""

    def __init__(self, things: dict[str, Any]) -> None:
        self.things = things
        self.forbidden: set[str] = set()
        self.refusal: Refused | None = None
        self.posted: list[str] = []

    def get(self, path: str) -> Any:
        if path in self.forbidden:
            raise Refused(403, f"{path} is forbidden")
        if path not in self.things:
            raise Refused(404, f"{path} not found")
        return self.things[path]

    def text(self, path: str) -> str:
        return str(self.get(path))

    def find(self, path: str) -> Any | None:
        return self.get(path) if path in self.things or path in self.forbidden else None

    def items(self, path: str) -> Iterator[Any]:
        if path in self.forbidden:
            raise Refused(403, f"{path} is forbidden")
        yield from self.things.get(path, [])

    def post(self, path: str, body: Any) -> Any:
        self.posted.append(path)
        if self.refusal is not None:
            raise self.refusal
        return body

    def may(self, verb: str, group: str, resource: str) -> bool:
        return resource not in self.forbidden
