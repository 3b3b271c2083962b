"""RouteSpec to compiled routes: everything that depends only on configuration is worked out here, once.

Called by `plan/build`; an unchanged route is compiled once and reused by later plans. Filters come from `filters`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sidewinder_sidecar.filters import request_filter, response_filter
from sidewinder_sidecar.filters.site import Open, Site
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.resilience import retry
from sidewinder_sidecar.router import Entry, Route, Share
from sidewinder_sidecar.router import conditions as condition
from sidewinder_sidecar.router.split import Split
from sidewinder_sidecar.router.stickiness import sticky
from sidewinder_sidecar.snapshot.filters import Mirror
from sidewinder_sidecar.snapshot.routes import ExactPath, MatchSpec, PrefixPath, RouteSpec, RuleSpec

if TYPE_CHECKING:
    from sidewinder_sidecar.means import Means
    from sidewinder_sidecar.messages import Attempt, Receiver, Request
    from sidewinder_sidecar.router.route import RequestFilter, ResponseFilter
    from sidewinder_sidecar.snapshot.filters import FilterSpec
    from sidewinder_sidecar.upstream.backend import Backend
    from sidewinder_sidecar.wheel import Wheel

T = TypeVar("T")


class CompiledRoute:
    """A route's entries for the index of every service that has it, and what it was made from."""

    __slots__ = ("backends", "entries", "spec")

    def __init__(self, spec: RouteSpec, entries: tuple[Entry, ...], backends: Mapping[str, Backend]) -> None:
        self.spec = spec
        self.entries = entries
        self.backends = backends

    def holds(self, spec: RouteSpec, backends: Mapping[str, Backend]) -> bool:
        """Would compiling give the same again?"""
        if self.spec is not spec and self.spec != spec:
            return False
        return all(backends.get(name) is backend for name, backend in self.backends.items())


def compile_route(spec: RouteSpec, backends: Mapping[str, Backend], means: Means, wheel: Wheel) -> CompiledRoute:
    """Raises Refused."""
    used: dict[str, Backend] = {}
    entries: list[Entry] = []
    for number, rule in enumerate(spec.rules):
        for field, name in _named(rule):
            if (backend := backends.get(name)) is None:
                raise Refused(f"route/{spec.name}", f"rules[{number}].{field}", f"the snapshot has no backend/{name}")
            used[name] = backend
        site = Site(spec.name, rule.name, means, wheel, _opens(used, wheel))
        entries += _Compiler(spec, number, rule, used, site).entries()
    return CompiledRoute(spec, tuple(entries), used)


def _named(rule: RuleSpec) -> Iterator[tuple[str, str]]:
    """The backends of a rule, with the field that names each."""
    for place, one in enumerate(rule.filters):
        if isinstance(one, Mirror):
            yield f"filters[{place}].backend", one.backend
    for number, reference in enumerate(rule.backends):
        if reference.backend:
            yield f"backends[{number}].backend", reference.backend
        for place, one in enumerate(reference.filters):
            if isinstance(one, Mirror):
                yield f"backends[{number}].filters[{place}].backend", one.backend


def _opens(backends: Mapping[str, Backend], wheel: Wheel) -> Callable[[str], Open]:
    """What a filter may send of its own. Nobody's budget counts it, and it never is a breaker's probe."""

    def opens(name: str) -> Open:
        backend = backends[name]

        def send(request: Request, receiver: Receiver) -> Attempt | None:
            endpoint = backend.pick_other((), wheel.clock())
            return None if endpoint is None else endpoint.open(request, receiver)

        return send

    return opens


class _Compiler:
    """One rule. Matches share its split, or the shares would not be exact over the rule."""

    def __init__(
        self, spec: RouteSpec, number: int, rule: RuleSpec, backends: Mapping[str, Backend], site: Site
    ) -> None:
        self._resource = f"route/{spec.name}"
        self._field = f"rules[{number}]"
        self._name = spec.name
        self._rule = rule
        self._backends = backends
        self._site = site
        self._chosen: dict[bytes, dict[str, Any]] = {}  # by prefix: what chooses a backend
        self._policy = self._retry()

    def entries(self) -> list[Entry]:
        return [self._entry(f"{self._field}.matches[{number}]", m) for number, m in enumerate(self._rule.matches)]

    def _entry(self, field: str, spec: MatchSpec) -> Entry:
        path = spec.path
        if isinstance(path, ExactPath | PrefixPath) and not path.value.startswith("/"):
            raise Refused(self._resource, f"{field}.path.value", f"{path.value!r} does not begin with a slash")
        headers = [
            self._try(f"{field}.headers[{number}].value", condition.header, one)
            for number, one in enumerate(spec.headers)
        ]
        query = [
            self._try(f"{field}.query[{number}].value", condition.query, one) for number, one in enumerate(spec.query)
        ]
        selector = next((one for one in spec.headers if one.type == "Exact"), None)
        return self._try(
            f"{field}.path.value",
            Entry,
            self._route(path.value.encode() if isinstance(path, PrefixPath) else b""),
            path,
            spec.method.encode(),
            headers,
            query,
            (selector.name.lower().encode(), selector.value.encode()) if selector is not None else None,
        )

    def _route(self, prefix: bytes) -> Route:
        rule = self._rule
        key = prefix if any(reference.filters for reference in rule.backends) else b""
        if key not in self._chosen:
            self._chosen[key] = self._choice(prefix)
        return Route(
            self._name,
            rule.name,
            filters=self._request_filters(f"{self._field}.filters", rule.filters, prefix),
            response_filters=self._response_filters(f"{self._field}.filters", rule.filters),
            request_timeout=self._seconds("request_timeout", rule.request_timeout),
            backend_timeout=self._seconds("backend_timeout", rule.backend_timeout),
            policy=self._policy,
            **self._chosen[key],
        )

    def _choice(self, prefix: bytes) -> dict[str, Any]:
        shares: list[Share] = []
        for number, reference in enumerate(self._rule.backends):
            field = f"{self._field}.backends[{number}]"
            if reference.weight < 0:
                raise Refused(self._resource, f"{field}.weight", f"{reference.weight} is negative, 0 is the least")
            shares.append(
                Share(
                    self._backends.get(reference.backend),
                    reference.weight,
                    self._request_filters(f"{field}.filters", reference.filters, prefix),
                    self._response_filters(f"{field}.filters", reference.filters),
                    reference.invalid or "the backend is invalid",
                )
            )
        stickiness = self._try(f"{self._field}.stickiness.name", sticky, self._rule.stickiness, shares)
        return {"shares": tuple(shares), "split": Split(shares), "stickiness": stickiness}

    def _retry(self) -> retry.Policy:
        spec = self._rule.retry
        if spec is None:
            return retry.NONE
        for name, value in (("attempts", spec.attempts), ("backoff", spec.backoff), ("max_backoff", spec.max_backoff)):
            if not value >= 0:
                raise Refused(self._resource, f"{self._field}.retry.{name}", f"{value} is negative, 0 is the least")
        return retry.Policy(spec)

    def _seconds(self, name: str, value: float | None) -> float | None:
        if value is not None and not value > 0:
            raise Refused(self._resource, f"{self._field}.{name}", f"{value} s is no time; leave it out for no limit")
        return value

    def _request_filters(self, field: str, specs: tuple[FilterSpec, ...], prefix: bytes) -> tuple[RequestFilter, ...]:
        made = [
            self._try(f"{field}[{number}]", request_filter, one, prefix, self._site) for number, one in enumerate(specs)
        ]
        return tuple(apply for apply in made if apply is not None)

    def _response_filters(self, field: str, specs: tuple[FilterSpec, ...]) -> tuple[ResponseFilter, ...]:
        made = [self._try(f"{field}[{number}]", response_filter, one) for number, one in enumerate(specs)]
        return tuple(apply for apply in made if apply is not None)

    def _try(self, field: str, make: Callable[..., T], *arguments: Any) -> T:
        """What a leaf finds wrong gets its place."""
        try:
            return make(*arguments)
        except ValueError as fault:
            raise Refused(self._resource, field, str(fault)) from None
