"""A PolicySpec made fast: what callers of a port must meet, before anything is looked at. Made by `plan/build`.

The exchange walks `filters` before it looks for a route and lets `response_filters` see every answer, our own too; a
connection that is relayed asks `admit`. A guard is for one port: 0 stands for those that nobody declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from sidewinder_sidecar.filters.context import Context, RequestFilter, ResponseFilter
from sidewinder_sidecar.messages import Call, Peer, Reply
from sidewinder_sidecar.plan.refused import Refused

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.policies import PolicySpec

CLOSED: Final = "what protects this service is not valid, so nothing is let in"
SILENT: Final = "credentials are required, which only HTTP can carry"
LISTS: Final = ("cidr_lists", "peer_cidr_lists", "not_cidr_lists", "not_peer_cidr_lists")

Admit: TypeAlias = Callable[[Peer, int], Reply | None]


class Guard:
    """`sources` are the keys, credentials and lists it was made with: a new plan takes it over when all is the same."""

    __slots__ = ("admits", "filters", "port", "response_filters", "sources", "spec")

    def __init__(self, spec: PolicySpec, port: int, sources: list[object]) -> None:
        self.spec = spec
        self.port = port
        self.sources = sources
        self.filters: tuple[RequestFilter, ...] = ()
        self.response_filters: tuple[ResponseFilter, ...] = ()
        self.admits: tuple[Admit, ...] = ()

    def admit(self, peer: Peer, port: int) -> Reply | None:
        """Why a connection to `port` is not relayed; None: it is. `Reply.decision` says who decided."""
        for admit in self.admits:
            if (reply := admit(peer, port)) is not None:
                return reply
        return None

    def holds(self, spec: PolicySpec, sources: list[object]) -> bool:
        """Would making it give the same again?"""
        return self.spec == spec and self.sources == sources

    def __repr__(self) -> str:
        return f"<Guard {self.spec.name} :{self.port} {len(self.filters)} filters>"


_NONE: Final[dict[tuple[str, int], Guard]] = {}


def named(spec: PolicySpec) -> Iterator[tuple[str, str, str]]:
    """What a policy needs beside itself: kind, plain name, and the field that says so."""
    for number, section in enumerate(spec.authentication):
        for place, provider in enumerate(section.providers):
            field = f"authentication[{number}].providers[{place}]"
            if name := getattr(provider, "keys", ""):
                yield "keys", name, f"{field}.keys"
            if name := getattr(provider, "credentials", ""):
                yield "credentials", name, f"{field}.credentials"
    for number, policy in enumerate(spec.authorization):
        for place, rule in enumerate(policy.rules):
            for index, source in enumerate(rule.sources):
                field = f"authorization[{number}].rules[{place}].sources[{index}]"
                for lists in LISTS:
                    for name in getattr(source, lists):
                        yield "addresses", name, f"{field}.{lists}"


def make(spec: PolicySpec, port: int, context: Context, previous: Mapping[tuple[str, int], Guard] = _NONE) -> Guard:
    """The guard of one port; a previous one where it would be the same. Raises Refused."""
    sources: list[object] = [context.trust_domain]
    for kind, name, field in named(spec):
        body = getattr(context, kind).get(name)
        if body is None:
            raise Refused(f"policy/{spec.name}", field, f"the snapshot has no {kind}/{name}")
        sources.append(body)
    old = previous.get((spec.name, port))
    if old is not None and old.holds(spec, sources):
        return old
    guard = Guard(spec, port, sources)
    for field, add in _SECTIONS:
        try:
            add(guard, spec, context)
        except ValueError as fault:
            raise Refused(f"policy/{spec.name}", field, str(fault)) from None
    return guard


# One section after the other, in filters.ORDER. A section's module is imported when a policy first has that section:
# most proxies never have some of them.


def _redact(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """Before all that may refuse: what is refused is told, too."""
    if spec.redact is None:
        return
    from sidewinder_sidecar.filters import redact

    guard.filters += (redact.build(spec.redact),)


def _closed(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """A security section is broken and never was good."""
    policy, count = spec.closed, context.count
    if not policy:
        return

    def admit(peer: Peer, port: int) -> Reply | None:
        count("closed", "Deny", policy)
        return Reply(403, "denied", CLOSED, decision=f"closed:{policy}")

    def apply(call: Call) -> Reply | None:
        return admit(call.peer, 0)

    guard.filters += (apply,)
    guard.admits += (admit,)


def _mtls(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """First of those that can be met: it costs nothing, and all others may ask who calls."""
    section = spec.mtls
    if section.mode == "Permissive":
        return
    from sidewinder_sidecar.filters import mtls

    if (made := mtls.build(section, guard.port, context)) is not None:
        guard.filters += (made.apply,)
        guard.admits += (made.admit,)


def _path_normalization(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """Before all that look at the path."""
    if spec.path_normalization == "Disabled":
        return
    from sidewinder_sidecar.filters import path_normalization

    if (apply := path_normalization.build(spec.path_normalization)) is not None:
        guard.filters += (apply,)


def _cors(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """A preflight carries no credentials: it is answered before anybody asks for them."""
    if spec.cors is None:
        return
    from sidewinder_sidecar.filters import cors

    made = cors.build(spec.cors, context.count)
    guard.filters += (made.apply,)
    guard.response_filters += (made.answer,)


def _authentication(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """Every section must be met."""
    if not spec.authentication:
        return
    from sidewinder_sidecar.filters import authenticate

    for section in spec.authentication:
        guard.filters += (authenticate.build(section, context, section is spec.authentication[-1]),)
        if section.credentials == "Required":
            guard.admits += (_silent(f"{section.policy}/authentication", context, section.policy),)


def _size_limits(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """Before anybody asks who sends it."""
    if spec.size_limits is None:
        return
    from sidewinder_sidecar.filters import size_limits

    if (apply := size_limits.build(spec.size_limits, context.count)) is not None:
        guard.filters += (apply,)


def _silent(decision: str, context: Context, policy: str) -> Admit:
    """Who does not speak HTTP cannot prove anything."""
    count = context.count

    def admit(peer: Peer, port: int) -> Reply | None:
        count("authentication", "Deny", policy)
        return Reply(403, "denied", SILENT, decision=decision)

    return admit


def _authorization(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """All sections at once, because a Deny anywhere wins."""
    if not spec.authorization:
        return
    from sidewinder_sidecar.filters import authorize

    authorizer = authorize.build(spec.authorization, context, guard.port)
    guard.filters += (authorizer.apply,)
    guard.admits += (authorizer.admit,)


def _adaptive_concurrency(guard: Guard, spec: PolicySpec, context: Context) -> None:
    """Last: who is refused takes no place."""
    if not spec.adaptive_concurrency:
        return
    from sidewinder_sidecar.filters import adaptive_concurrency

    guard.filters += tuple(adaptive_concurrency.build(section, context) for section in spec.adaptive_concurrency)


_SECTIONS: Final[tuple[tuple[str, Callable[[Guard, PolicySpec, Context], None]], ...]] = (
    ("redact", _redact),
    ("closed", _closed),
    ("mtls", _mtls),
    ("path_normalization", _path_normalization),
    ("cors", _cors),
    ("size_limits", _size_limits),
    ("authentication", _authentication),
    ("authorization", _authorization),
    ("adaptive_concurrency", _adaptive_concurrency),
)
