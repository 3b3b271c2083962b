"""A snapshot that cannot be built is refused whole, with the place and the reason. Raised by everything in `plan`."""

from __future__ import annotations


class Refused(ValueError):
    """`resource` is a resource's name, `field` a path in it, `why` a sentence that says what would be right."""

    def __init__(self, resource: str, field: str, why: str) -> None:
        super().__init__(f"{resource}{': ' + field if field else ''}: {why}")
        self.resource = resource
        self.field = field
        self.why = why
