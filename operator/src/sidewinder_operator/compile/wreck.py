"""What can still be told of a policy that cannot be read: which security sections it names, and what it targets.

Without a last good version such a policy must close its scope, not open it. Called by loaders with what YAML or JSON
gave them, however malformed; `attachment` closes what is named here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.policy import TargetRef


class Wreck(NamedTuple):
    """The remains. Without a single legible target, the policy's namespace stands for what it may have meant."""

    reference: Reference
    sections: frozenset[str]
    targets: tuple[TargetRef, ...]


def salvage(reference: Reference, raw: Any) -> Wreck:
    """The remains of a policy that `read` has refused."""
    spec = raw.get("spec") if isinstance(raw, Mapping) else None
    fields = spec if isinstance(spec, Mapping) else {}
    targets = tuple(_targets(fields.get("targetRefs"))) or (TargetRef(kind="Namespace"),)
    return Wreck(reference, frozenset(str(name) for name in fields), targets)


def _targets(refs: Any) -> Iterator[TargetRef]:
    for ref in refs if isinstance(refs, list) else ():
        try:
            yield msgspec.convert(ref, TargetRef)
        except msgspec.ValidationError:
            yield TargetRef(kind="Namespace")  # what cannot be told apart is held shut as a whole
