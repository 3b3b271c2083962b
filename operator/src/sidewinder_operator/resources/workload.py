"""What runs outside Kubernetes: ExternalWorkload (somebody else started it) and LocalProcess (`sidewinder up` does).

A Service selects both by `metadata.labels`, as it selects pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, union, within
from sidewinder_operator.resources.meta import Named, ObjectMeta, Strict
from sidewinder_operator.resources.names import ObjectName, Port, PortName, is_address
from sidewinder_operator.resources.quantity import Duration


class WorkloadPort(Strict, frozen=True, kw_only=True):
    """A port that a Service's `targetPort` can mean, by name or by number."""

    name: Annotated[PortName, Meta(description="The port's name.")]
    port: Annotated[Port, Meta(description="The port's number.")]
    protocol: Annotated[Literal["TCP"], Meta(description="TCP.")] = "TCP"


def _addressed(spec: Any) -> Iterator[str]:
    for index, address in enumerate(spec.addresses):
        if not is_address(address):
            yield f"addresses[{index}]"


_ADDRESSED = "self.addresses.all(a, isIP(a))"


class ExternalWorkloadSpec(Strict, frozen=True, kw_only=True):
    """Where it answers, and who it is."""

    service_account: Annotated[ObjectName, Meta(description="Who it is to others: its service account.")] = "default"
    addresses: Annotated[
        tuple[Annotated[str, Meta(min_length=2, max_length=45)], ...],
        Meta(min_length=1, max_length=16, description="Its IP addresses.", extra={"list": "set"}),
    ]
    ports: Annotated[
        tuple[WorkloadPort, ...],
        Meta(min_length=1, max_length=16, description="Where it listens.", extra={"list": "map"}),
    ]

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(_addressed, "addresses are IP addresses such as 192.0.2.7 or 2001:db8::7", _ADDRESSED, ".addresses"),
    )


class ExternalWorkload(Strict, Named, frozen=True, kw_only=True):
    """Something that runs outside the cluster and that a Service can select by its labels."""

    KIND: ClassVar[str] = "ExternalWorkload"

    metadata: ObjectMeta
    spec: ExternalWorkloadSpec


# The kernel takes no NUL in a program's arguments and environment.
_NUL = r"^[^\x00]*\Z"
_RIGHT = {"right": "text without NUL"}


class Environment(Strict, frozen=True, kw_only=True):
    """One environment variable."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z",
            description="The variable's name.",
            extra={"right": "a name of letters, digits and _ such as `LOG_LEVEL`"},
        ),
    ]
    value: Annotated[
        str,
        Meta(
            max_length=32768, pattern=_NUL, extra=_RIGHT, description="Its value; `{port}` becomes the replica's port."
        ),
    ] = ""


class HTTPProbe(Strict, frozen=True, kw_only=True):
    """GET of a path."""

    path: Annotated[
        str, Meta(min_length=1, max_length=1024, pattern=r"^/[!-~]*\Z", extra={"right": "a path from `/` on"})
    ] = "/"
    expected_statuses: Annotated[
        tuple[Annotated[int, Meta(ge=200, le=599)], ...],
        Meta(min_length=1, max_length=16, description="Answers that mean ready.", extra={"list": "set"}),
    ] = (200,)


class Readiness(Strict, frozen=True, kw_only=True):
    """When a replica counts as ready."""

    type: Annotated[Literal["HTTP", "TCP"], Meta(description="TCP: it accepts. HTTP: it answers as expected.")] = "TCP"
    http: Annotated[HTTPProbe | None, Meta(description="What is asked.")] = None
    interval: Annotated[Duration, Meta(description="How often it is asked.")] = "250ms"
    timeout: Annotated[Duration, Meta(description="How long one answer may take.")] = "1s"

    RULES: ClassVar[tuple[Rule, ...]] = (
        *union({"HTTP": "http"}),
        within("interval", "10ms", "1m"),
        within("timeout", "10ms", "1m"),
    )


def _nameless(spec: Any) -> Iterator[str]:
    if not spec.command[0].strip():
        yield "command[0]"


def _reserved(spec: Any) -> Iterator[str]:
    for index, variable in enumerate(spec.env):
        if variable.name == "PORT":
            yield f"env[{index}].name"


class LocalProcessSpec(Strict, frozen=True, kw_only=True):
    """What to start, and who it is."""

    service_account: Annotated[ObjectName, Meta(description="Who it is to others: its service account.")] = "default"
    command: Annotated[
        tuple[Annotated[str, Meta(max_length=4096, pattern=_NUL, extra=_RIGHT)], ...],
        Meta(min_length=1, max_length=128, description="Program and arguments; `{port}` is the replica's free port."),
    ]
    # Every replica costs two processes of this machine.
    replicas: Annotated[int, Meta(ge=0, le=32, description="How many to start.")] = 1
    env: Annotated[
        tuple[Environment, ...],
        Meta(max_length=128, description="Variables beside `PORT` and our own environment.", extra={"list": "map"}),
    ] = ()
    working_directory: Annotated[
        str,
        Meta(
            max_length=4096, pattern=_NUL, extra=_RIGHT, description="Where it runs, relative to the manifest's folder."
        ),
    ] = "."
    port_name: Annotated[
        PortName, Meta(description="What a Service's `targetPort` may call the one port; a number means it always.")
    ] = "http"
    readiness: Annotated[Readiness, Meta(description="When a replica counts as ready.")] = Readiness()

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(_nameless, "the command begins with a program"),
        Rule(_reserved, "every replica gets PORT from Sidewinder; use `{port}` where another name is needed"),
    )


class LocalProcess(Strict, Named, frozen=True, kw_only=True):
    """An application that `sidewinder up` starts, with a sidecar in front of it. In files only."""

    KIND: ClassVar[str] = "LocalProcess"

    metadata: ObjectMeta
    spec: LocalProcessSpec
