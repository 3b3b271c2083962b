"""What users wrote, as frozen types: the nouns that compile starts from. `KINDS` is all of them.

`read.read(raw)` turns one object, as YAML or JSON gave it, into one of these types and a list of problems; `crd` turns
the types into CustomResourceDefinitions. `unbuilt` names what is planned and not there yet.
"""

from __future__ import annotations

from sidewinder_operator.resources.cluster import FIELDS, Cluster, Key, Object, gather

# (apiVersion, kind) → type
KINDS: dict[tuple[str, str], type[Object]] = {(kind.API_VERSION, kind.KIND): kind for kind in FIELDS}

__all__ = ["FIELDS", "KINDS", "Cluster", "Key", "Object", "gather"]
