"""What a rule of the section `authorization` asks of a request: what it is for (`to`), what it carries (`when`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import HeaderName, Hostname, Method, Port
from sidewinder_sidecar.snapshot.normal_path import Unclear, normal


def _empty(value: Any) -> Iterator[str]:
    if not any(getattr(value, field) for field in value.__struct_fields__):
        yield ""


# In the schema this is minProperties: what an old CRD prunes must not leave an item that takes everybody.
saying_something = Rule(_empty, "must say something: nothing at all would take everybody", reason="Required")


def _unusual(value: Any) -> Iterator[str]:
    try:
        right = normal(value.value.encode()).decode()
    except Unclear as why:
        yield f"value: it has {why}, and such a request is refused"
    else:
        if right != value.value:
            yield f"value: write {right}"


class AccessPath(Strict, frozen=True, kw_only=True):
    """A path, as it is after normalisation."""

    type: Annotated[
        Literal["Exact", "PathPrefix"],
        Meta(
            description="Exact compares byte for byte; PathPrefix by element, so that `/a` takes `/a/b` and not `/ab`."
        ),
    ]
    value: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            pattern=r"^/[-A-Za-z0-9/._~!$&'()*+,=:@%]*\Z",
            extra={"right": "a path such as `/reviews`"},
            description="Begins with `/`; in the form in which paths are judged.",
        ),
    ]

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(_unusual, "the path must be in normal form, or no request would match", "", ".value"),
    )


ClaimName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[!-~]+\Z",
        extra={"right": "a claim's name such as `groups` or `realm_access.roles`"},
    ),
]
Paths = Annotated[tuple[AccessPath, ...], Meta(min_length=1, max_length=64)]
Methods = Annotated[tuple[Method, ...], Meta(min_length=1, max_length=9)]
Hosts = Annotated[tuple[Hostname, ...], Meta(min_length=1, max_length=64)]
Ports = Annotated[tuple[Port, ...], Meta(min_length=1, max_length=64)]


class To(Strict, frozen=True, kw_only=True):
    """What is called: all that is written must hold, each by one of its values."""

    methods: Annotated[Methods, Meta(description="The request's method.")] = ()
    paths: Annotated[Paths, Meta(description="The request's path, without its query.")] = ()
    hosts: Annotated[
        Hosts, Meta(description="The host that is asked for, without its port; `*.` stands for any labels.")
    ] = ()
    ports: Annotated[Ports, Meta(description="The pod's port.")] = ()
    not_methods: Annotated[Methods, Meta(description="None of these.")] = ()
    not_paths: Annotated[Paths, Meta(description="None of these.")] = ()
    not_hosts: Annotated[Hosts, Meta(description="None of these.")] = ()
    not_ports: Annotated[Ports, Meta(description="None of these.")] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (saying_something,)


class When(Strict, frozen=True, kw_only=True):
    """A verified claim or a header of the request."""

    claim: Annotated[
        ClaimName | None,
        Meta(
            description="A claim that authentication has verified; a dot leads into an object. A list holds each of "
            "its members."
        ),
    ] = None
    header: Annotated[HeaderName | None, Meta(description="A header of the request, in any case.")] = None
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "NotExists"],
        Meta(description="In: one of values. NotIn: none of them, but there."),
    ] = "In"
    values: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=1024)], ...],
        Meta(min_length=1, max_length=64, description="For In and NotIn."),
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: (self.claim is None) != (self.header is None),
            "either claim or header must be here",
            cel="has(self.claim) != has(self.header)",
            reason="Required",
        ),
        holds(
            lambda self: (self.operator in ("In", "NotIn")) == bool(self.values),
            "In and NotIn need values; Exists and NotExists have none",
            cel="(self.operator in ['In', 'NotIn']) == has(self.values)",
            field="values",
        ),
        holds(
            lambda self: self.header is None or self.header.lower() != "host",
            "what a request is for is judged by hosts in `to`",
            cel="!has(self.header) || self.header.lowerAscii() != 'host'",
            field="header",
        ),
    )
