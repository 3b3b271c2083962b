"""What every section of an ApiPolicy says of itself: where it acts, how it merges, what it may be attached to.

The unit of attachment, conflict and merging is the section. A new one is a class in a file of its own, and a field of
`policy.ApiPolicySpec`; everything else (`policy.SECTIONS`, the CRD, the documentation) follows from that line.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from sidewinder_operator.resources.meta import Strict

Side = Literal["Client", "Server"]
Merging = Literal["Replace", "Add", "Minimum"]


class Section(Strict, frozen=True, kw_only=True):
    """Client sections act in the caller's proxy on the backend that a route chose, Server ones in the serving proxy.

    Replace: the whole section of the more specific policy wins. Add: all levels apply. Minimum: of all levels the
    smaller, field by field.
    """

    SIDE: ClassVar[Side]
    MERGING: ClassVar[Merging] = "Replace"
    SECURITY: ClassVar[bool] = False  # broken without a last good version: its scope closes instead of opening
    ROUTED: ClassVar[bool] = False  # on a route it acts where the route does, in the caller's proxy, whatever its side
    HTTP: ClassVar[bool] = True  # only who reads requests can obey it: a Service's port that has it is never mere TCP
    TARGETS: ClassVar[frozenset[str]]
