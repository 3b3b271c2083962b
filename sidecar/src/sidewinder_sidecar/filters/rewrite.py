"""URLRewrite: what the upstream sees as host and path; the query stays as it came.

Made by plan.build for a rule or a backend, called once per request. Where the request goes was decided before.
"""

from __future__ import annotations

from collections.abc import Callable

from sidewinder_sidecar.filters.path import replacement
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.snapshot.filters import Rewrite


def build(spec: Rewrite, prefix: bytes) -> Callable[[Call], None]:
    """The filter of one URLRewrite."""
    hostname = spec.hostname.encode()
    replace = replacement(spec.path, prefix) if spec.path is not None else None

    def rewrite(call: Call) -> None:
        request = call.request
        if hostname:
            request.authority = hostname
            request.fields.set(b"host", b"Host", hostname)
        if replace is not None and request.path.startswith(b"/"):  # `OPTIONS *` and CONNECT have no path to replace
            new = replace(call)
            request.target = new + request.target[len(request.path) :]
            request.path = new

    return rewrite
