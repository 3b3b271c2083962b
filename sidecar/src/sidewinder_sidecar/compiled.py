"""What the compiler must be told that types do not say. Used by the few classes that something interpreted extends.

`setup.py` compiles the data path with mypyc, which otherwise seals every class: a test's endpoint that plays its part
could not be one. In a run of the sources as they are the mark means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_attributes: Any) -> Any:
        """The mark, where nobody reads it."""
        return lambda marked: marked


__all__ = ["mypyc_attr"]
