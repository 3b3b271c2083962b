"""Static settings of one operator process, from the environment: read once by main, before anything listens.

`read` tells every mistake at once; `reference` writes docs/reference/operator.md from the same struct:
`python -m sidewinder_operator.settings > docs/…`. Kubernetes puts variables of its own beside them for each Service of
the namespace (`SIDEWINDER_OPERATOR_PORT`, …): those are passed over.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

PREFIX = "SIDEWINDER_"
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)$")
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

Path = Annotated[str, Meta(max_length=4096)]
Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field per variable, `SIDEWINDER_` and the field's name in capitals."""

    namespace: Annotated[
        str,
        Meta(
            max_length=63,
            pattern=rf"^{_LABEL}\Z",
            description="The operator's own namespace: its Lease is there, and policies for the whole mesh.",
        ),
    ] = "sidewinder-system"
    pod_name: Annotated[
        str, Meta(max_length=253, description="This replica, as others know it. Empty: the host's name.")
    ] = ""
    cluster_domain: Annotated[
        str,
        Meta(
            max_length=253,
            pattern=rf"^{_LABEL}(\.{_LABEL})*\Z",
            description="What Services' names end with, and the trust domain.",
        ),
    ] = "cluster.local"
    trace_percent: Annotated[
        float, Meta(ge=0, le=100, description="Share of requests without a trace of their own that are traced.")
    ] = 1.0
    outbound: Annotated[
        Literal["Allow", "Registry"],
        Meta(
            description="What pods may call: `Allow` lets through what no Service owns, "
            "`Registry` refuses it and says so."
        ),
    ] = "Allow"
    api_server: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/]+)?\Z",
            max_length=2048,
            description="The Kubernetes API, `https://host:port`. Empty: that of the cluster this pod runs in.",
        ),
    ] = ""
    api_token_file: Annotated[
        Path, Meta(description="The token for it; read anew for each request. Empty: none is sent.")
    ] = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 (where it is, not what it is)
    api_authority_file: Annotated[
        Path, Meta(description="Who signed its certificate, in PEM. Empty: whom this system trusts.")
    ] = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    health_address: Annotated[
        str, Meta(min_length=1, max_length=255, description="Where the health port listens. The kubelet asks there.")
    ] = "0.0.0.0"
    health_port: Annotated[
        Port, Meta(description="`/livez`, `/readyz`, `/leadz` and `/metrics`; 0 takes any free one and logs it.")
    ] = 8080
    address: Annotated[
        str,
        Meta(
            max_length=255,
            description="Where the discovery and admission ports listen. Empty: all addresses of both families.",
        ),
    ] = ""
    discovery_port: Annotated[
        Port,
        Meta(description="Enrolment, discovery and acknowledgements, over TLS; 0 takes any free one and logs it."),
    ] = 15012
    certificate_seconds: Annotated[
        int,
        Meta(
            ge=60,
            le=86_400,
            description="How long a sidecar's certificate holds; it is renewed at about half of that. Rotations of "
            "the root count on no more than a day.",
        ),
    ] = 86_400
    injection: Annotated[
        Path,
        Meta(description="JSON file with what every injected pod gets, as the chart writes it. Empty: no webhooks."),
    ] = ""
    admission_port: Annotated[
        Port,
        Meta(description="`/mutate` and `/validate`, for the API server, over TLS; 0 takes any free one and logs it."),
    ] = 9443
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The process's log: JSON lines on stderr.")
    ] = "info"


class Mistake(NamedTuple):
    """One variable that cannot be used."""

    variable: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"{self.variable}={self.value!r}: {self.why}" if self.value else f"{self.variable}: {self.why}"


class Unusable(Exception):
    """The environment cannot be used; `mistakes` has all of it."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class Variable(NamedTuple):
    """How a field is known outside."""

    name: str
    field: str
    type: Any
    default: object
    description: str


def variables(struct: type[msgspec.Struct]) -> Iterator[Variable]:
    """The variables of a struct's fields, in order."""
    for field in msgspec.structs.fields(struct):
        metas = [meta for meta in getattr(field.type, "__metadata__", ()) if isinstance(meta, Meta)]
        description = "".join(meta.description or "" for meta in metas)
        yield Variable(PREFIX + field.name.upper(), field.name, field.type, field.default, description)


SETTINGS = tuple(variables(Settings))


def read(environment: Mapping[str, str]) -> Settings:
    """The settings of an environment. Raises Unusable with every mistake in it."""
    mistakes: list[Mistake] = []
    values = _values(environment, mistakes)
    known = {variable.name for variable in SETTINGS}
    ours = (name for name in sorted(environment) if name.startswith(PREFIX) and not _SERVICE_LINK.search(name))
    mistakes.extend(Mistake(name, "", _unknown(name, known)) for name in ours if name not in known)
    if not values.get("api_server"):
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
        if host:
            values["api_server"] = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        elif not any(mistake.variable == "SIDEWINDER_API_SERVER" for mistake in mistakes):
            why = "this is no pod of a cluster (there is no KUBERNETES_SERVICE_HOST): say where the API server is"
            mistakes.append(Mistake("SIDEWINDER_API_SERVER", "", why))
    if mistakes:
        raise Unusable(mistakes)
    return Settings(**values)


def _values(environment: Mapping[str, str], mistakes: list[Mistake]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in SETTINGS:
        if (text := environment.get(variable.name)) is None:
            continue
        try:
            values[variable.field] = msgspec.convert(text, variable.type, strict=False)
        except msgspec.ValidationError as fault:
            default = f" Without it: {variable.default}." if variable.default != "" else ""
            why = f"{str(fault).replace('`', '')}. Right is: {variable.description}{default}"
            mistakes.append(Mistake(variable.name, text[:100], why))
    return values


def _unknown(name: str, known: set[str]) -> str:
    bare = {one.removeprefix(PREFIX): one for one in sorted(known)}
    if near := difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1):
        return f"no such setting; did you mean {bare[near[0]]}?"
    return f"no such setting; there are {', '.join(sorted(known))}"


_KINDS = {int: "integer", float: "number", str: "text"}


def _kind(variable: Variable) -> str:
    """Type and bounds in words."""
    kind = variable.type
    bounds: dict[str, float] = {}
    while hasattr(kind, "__metadata__"):
        for meta in kind.__metadata__:
            bounds |= {key: getattr(meta, key) for key in ("ge", "le") if getattr(meta, key, None) is not None}
        kind = kind.__origin__
    if kind not in _KINDS:
        return ", ".join(f"`{choice}`" for choice in kind.__args__)
    return f"{_KINDS[kind]}, {bounds['ge']} to {bounds['le']}" if bounds else _KINDS[kind]


def reference() -> str:
    """docs/reference/operator.md."""
    lines = [
        "# Settings of the operator",
        "",
        "Read once from the environment at start; the chart sets them. All mistakes are printed at once, before",
        "anything listens. This page is written by `python -m sidewinder_operator.settings`; a test proves it in step.",
        "",
        "| variable | value | default | meaning |",
        "|---|---|---|---|",
    ]
    for variable in SETTINGS:
        default = f"`{variable.default}`" if variable.default != "" else "–"
        lines.append(f"| `{variable.name}` | {_kind(variable)} | {default} | {variable.description} |")
    return "\n".join(lines) + "\n"


def read_or_exit() -> Settings:
    """The process's own environment; prints all mistakes and exits 2."""
    try:
        return read(os.environ)
    except Unusable as fault:
        for mistake in fault.mistakes:
            sys.stderr.write(f"{mistake}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    sys.stdout.write(reference())
