"""Failures that are this process's own: no file, port or memory to spare. They say nothing of any endpoint.

Asked by whoever judges endpoints: breakers' tries, relayed connections, health checks.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.messages import CONNECT

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Failure

_ERRORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
_DETAILS: Final = frozenset(map(os.strerror, _ERRORS))  # as `dial` tells what the kernel said


def is_ours(failure: Failure) -> bool:
    """No connection was made, and the endpoint had no part in it."""
    return failure.stage == CONNECT and failure.detail in _DETAILS
