"""What a proxy asks of those who call its application: the server sections that hold on one port, worked out.

Resource names: `policy/<name>`, and what policies refer to by plain names: `keys/<id>`, `credentials/<ns>/<secret>`,
`addresses/<ns>/<configmap>/<key>`. A policy is shared by all proxies on which the same sections hold; a ServiceSpec
(one port of the application) or an inbound ListenerSpec (the ports that nobody declared) names it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sidewinder_sidecar.snapshot.authentication import AuthenticationSpec
from sidewinder_sidecar.snapshot.authorization import AuthorizationSpec

MtlsMode = Literal["Permissive", "Audit", "Strict"]
PathNormalization = Literal["Disabled", "Merge", "Strict"]


class MtlsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Permissive takes callers with and without a certificate of the mesh, Audit counts and logs the latter, Strict
    refuses them. `except_ports` are ports of the pod that stay plain (health, metrics)."""

    mode: MtlsMode = "Permissive"
    except_ports: tuple[int, ...] = ()
    policy: str = ""  # "<namespace>/<name>" of the ApiPolicy, for log and metrics


class CorsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may read answers from a page of another origin. Source: the Fetch standard, Gateway API HTTPCORSFilter.

    `allow_origins`: scheme://host[:port], a `*` for the leftmost labels of the host, or `*` alone; lower case, without
    the scheme's own port. `*` in methods and headers stands for all. The methods and headers that the standard lets
    every page use need not be named.
    """

    policy: str = ""  # "<namespace>/<policy>", for log and metrics
    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int = 5  # seconds; the Fetch standard's own default


class RedactSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Headers and parameters of the query, in lower case, that logs and spans do not show."""

    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


class SizesSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The most bytes of a message; None: no limit of its own. Of several levels the smallest of each."""

    policy: str = ""  # "<namespace>/<name>" of the ApiPolicies it comes from, for log and refusal
    request_headers: int | None = None  # the whole block of fields, as it came
    request_body: int | None = None
    response_body: int | None = None


class AdaptiveConcurrencySpec(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """How many requests run at once, found out from how long they take. See `resilience/adaptive`.

    `priority_header`, in lower case, names the header whose `low` is refused first and `high` last; "": all are alike.
    """

    policy: str  # "<namespace>/<name>" of the ApiPolicy, for log and metrics; its state is kept under it and the target
    target: str = ""  # of the policy's: each finds a limit of its own
    target_latency: float  # seconds
    priority_header: str = ""
    least: int = 3  # Envoy's min_concurrency: what is never refused, whatever is measured
    most: int = 1000  # Envoy's max_concurrency_limit


class PolicySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`closed`: why everything is refused, "" if it is not (a security section is broken and never was good).

    All of `authentication` must be met; `authorization` adds up over its levels (a Deny anywhere wins).
    """

    name: str
    closed: str = ""
    mtls: MtlsSpec = MtlsSpec()
    path_normalization: PathNormalization = "Disabled"  # the strictest of those that apply
    cors: CorsSpec | None = None
    authentication: tuple[AuthenticationSpec, ...] = ()
    authorization: tuple[AuthorizationSpec, ...] = ()
    redact: RedactSpec | None = None
    adaptive_concurrency: tuple[AdaptiveConcurrencySpec, ...] = ()  # all must have room
    size_limits: SizesSpec | None = None
