"""What every object has: the strict base of our own kinds, the tolerant base of Kubernetes' kinds, and ObjectMeta.

Types here say what users wrote, field by field, frozen. Names are snake_case in Python and camelCase in manifests. What
a field may hold stands beside it (`Annotated[…, Meta(…)]`), what must hold between fields in the class's `RULES`
(`constraints`). `read` refuses by both, `crd` writes both into the schema. Everything in this package uses this module.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.constraints import Rule
from sidewinder_operator.resources.names import LabelName, LabelValue, Namespace, ObjectName

GROUP = "sidewinder.dev"
VERSION = f"{GROUP}/v1alpha1"


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A part of one of our own kinds: what it does not know, it refuses."""

    RULES: ClassVar[tuple[Rule, ...]] = ()


class Tolerant(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a kind that Kubernetes owns: newer fields than these are none of our business."""

    RULES: ClassVar[tuple[Rule, ...]] = ()


class ObjectMeta(Tolerant, frozen=True, kw_only=True):
    """The part of an object's metadata that means something here. In files uid, generation and time are empty."""

    name: ObjectName
    namespace: Annotated[Namespace | None, Meta(description="Defaults to `default` in files.")] = None
    uid: str = ""
    generation: int = 0
    creation_timestamp: Annotated[str, Meta(description="RFC 3339 in UTC: as text it sorts by time.")] = ""
    labels: dict[LabelName, LabelValue] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


# Fields of ObjectMeta that mean nothing here; every other unknown one is refused in our own kinds.
IGNORED_METADATA = frozenset({
    "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName", "managedFields", "ownerReferences",
    "resourceVersion", "selfLink",
})  # fmt: skip


class Named:
    """What all kinds can say of themselves. `KIND` is the kind as written, `SCOPED` whether it lives in a namespace."""

    __slots__ = ()
    KIND: ClassVar[str]
    API_VERSION: ClassVar[str] = VERSION
    SCOPED: ClassVar[bool] = True
    metadata: ObjectMeta

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """`metadata.namespace`, "" for cluster-scoped kinds."""
        return (self.metadata.namespace or "default") if self.SCOPED else ""

    @property
    def key(self) -> tuple[str, str]:
        """What a Cluster finds the object by: (namespace, name)."""
        return self.namespace, self.name

    @property
    def reference(self) -> Reference:
        """What problems call the object."""
        return Reference(self.KIND, self.namespace, self.name)
