"""Where something in the mesh comes from: which object, in which generation."""

from __future__ import annotations

import msgspec

from sidewinder_operator.problems import Reference


class Origin(msgspec.Struct, frozen=True, order=True, gc=False):
    """An object that shaped it. `stale`: the generation named is the last good one, not the one written now."""

    reference: Reference
    uid: str = ""
    generation: int = 0
    stale: bool = False

    @property
    def of(self) -> tuple[str, int] | None:
        """uid and generation as discovery sends them; None for what nobody numbered."""
        return (self.uid, self.generation) if self.uid else None
