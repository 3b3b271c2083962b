"""What may happen to a request on its way: one policy, one file. plan.build asks here for a rule's filters, in ORDER.

`ORDER` lists the sections of ApiPolicy in the order in which they run: those of the server before a route is looked for
(`plan/guards` makes them), a rule's own filters as written, at the place of RULE. A feature that is off is not in the
tuple and costs nothing. Always on, before all of these, are request_id and forwarded: the exchange calls them itself.
"""

from __future__ import annotations

from collections.abc import Callable

from sidewinder_sidecar.filters import headers
from sidewinder_sidecar.filters.site import Site
from sidewinder_sidecar.messages import Call, Reply, Response, Wait
from sidewinder_sidecar.snapshot.filters import (
    Cors,
    DirectResponse,
    Fault,
    FilterSpec,
    Mirror,
    Redirect,
    RequestHeaders,
    ResponseHeaders,
    Rewrite,
    SizeLimits,
)

RULE = "rule"
ORDER: tuple[str, ...] = (
    "redact",  # first, so that nothing of a refusal is told that should not be
    "closed",
    "mtls",  # it costs nothing, and all others may ask who calls
    "path_normalization",  # before all that look at the path
    "cors",  # a preflight carries no credentials
    "size_limits",  # what is too large is not worth a look at who sends it
    "authentication",
    "authorization",
    "adaptive_concurrency",  # what the others refuse takes no place
    RULE,
)


# A filter's module is imported when a rule first has that filter: most proxies never have most of them.


def request_filter(spec: FilterSpec, prefix: bytes, site: Site) -> Callable[[Call], Reply | Wait | None] | None:
    """What a filter does to a request; None if nothing. Raises ValueError for what cannot be done."""
    match spec:
        case RequestHeaders():
            return headers.request(spec)
        case Redirect():
            from sidewinder_sidecar.filters import redirect

            return redirect.build(spec, prefix)
        case Rewrite():
            from sidewinder_sidecar.filters import rewrite

            return rewrite.build(spec, prefix)
        case DirectResponse():
            from sidewinder_sidecar.filters import direct_response

            return direct_response.build(spec)
        case Cors():
            from sidewinder_sidecar.filters import cors

            return cors.build(spec.spec).apply
        case Mirror():
            from sidewinder_sidecar.filters import mirror

            return mirror.build(spec, site)
        case Fault():
            from sidewinder_sidecar.filters import fault

            return fault.build(spec, site)
        case SizeLimits():
            from sidewinder_sidecar.filters import size_limits

            return size_limits.build(spec.spec, site.means.count)
        case ResponseHeaders():
            return None


def response_filter(spec: FilterSpec) -> Callable[[Call, Response], None] | None:
    """What a filter does to a response; None if nothing. Raises ValueError for what cannot be done."""
    if isinstance(spec, Cors):
        from sidewinder_sidecar.filters import cors

        return cors.build(spec.spec).answer
    return headers.response(spec) if isinstance(spec, ResponseHeaders) else None
