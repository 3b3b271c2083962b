"""Static settings of one proxy process, from the environment: read once by main, before anything listens.

`read` collects every mistake instead of stopping at the first; `reference` writes docs/reference/settings.md from the
same structs, so that text, bound and default cannot drift apart: `python -m sidewinder_sidecar.settings > docs/…`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from sidewinder_sidecar.limits import Count, Limits
from sidewinder_sidecar.snapshot import probes

__all__ = ["LIMITS", "Limits", "Mistake", "Settings", "Unusable", "authority", "read", "read_or_exit", "reference"]

PREFIX = "SIDEWINDER_"
LIMIT_PREFIX = "SIDEWINDER_LIMIT_"

# What an environment variable may hold: text that a person would call a value, not a document.
Path = Annotated[str, Meta(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field per variable, `SIDEWINDER_` and the field's name in capitals."""

    discovery: Annotated[
        str,
        Meta(
            pattern=r"^(unix:/.+|https://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?)?$",
            max_length=512,
            description="Where the configuration comes from: `unix:/path/of/the.socket`, or the operator, "
            "`https://host:15012`, which takes an identity. Empty: nowhere.",
        ),
    ] = ""
    identity: Annotated[
        Path,
        Meta(
            description="Folder of the certificate and its key, `certificate.pem` and `key.pem`: written at enrolment "
            "and used again after a restart. Needed where SIDEWINDER_DISCOVERY is `https:`. Without SIDEWINDER_TOKEN "
            "nobody enrols: somebody else writes them, and they are read again when they change."
        ),
    ] = ""
    token: Annotated[
        Path,
        Meta(
            description="File with the pod's projected token for the audience `sidewinder`, which proves at enrolment "
            "who asks. Needed like SIDEWINDER_IDENTITY."
        ),
    ] = ""
    bundle: Annotated[
        Path,
        Meta(
            description="PEM file with the roots that the operator and other proxies are verified against; read again "
            "when it changes. Needed where SIDEWINDER_DISCOVERY is `https:`; else `bundle.pem` in SIDEWINDER_IDENTITY."
        ),
    ] = ""
    pod_name: Annotated[
        str, Meta(max_length=253, pattern=r"^[a-z0-9.-]*$", description="The pod's name, for logs and spans.")
    ] = ""
    pod_namespace: Annotated[
        str,
        Meta(
            max_length=63,
            pattern=r"^[a-z0-9-]*$",
            description="The pod's namespace. A certificate that names another one is not used.",
        ),
    ] = ""
    pod_uid: Annotated[
        str,
        Meta(
            max_length=64,
            pattern=r"^[A-Za-z0-9-]*$",
            description="The pod's uid. A certificate that names another one is not used.",
        ),
    ] = ""
    pod_address: Annotated[
        str,
        Meta(max_length=64, description="The pod's address, at which SIDEWINDER_PROBES are asked; needed with them."),
    ] = ""
    probes: Annotated[
        str,
        Meta(
            max_length=65536,
            description="What the application is asked for the kubelet, at `/probes/CONTAINER/WHAT` on the probe port; "
            'written by the injector: `{"web/readiness": {"type": "http", "port": 8080, "target": "/healthz"}}`.',
            extra={"secret": True},
        ),
    ] = ""
    snapshot: Annotated[
        Path,
        Meta(
            description="A JSON file with a fixed configuration, `{resource name: body}`, for benchmarks and tests. "
            "Not together with SIDEWINDER_DISCOVERY."
        ),
    ] = ""
    keep: Annotated[
        Path,
        Meta(
            description="File in which the last good configuration is kept, so that a restart without the operator "
            "serves on. Empty: it is not kept."
        ),
    ] = ""
    probe_address: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="Where the probe port listens. The kubelet comes from outside."),
    ] = "0.0.0.0"
    probe_port: Annotated[
        Port, Meta(description="`/livez`, `/readyz` and `/metrics`. Istio's number; 0 takes any free one and logs it.")
    ] = 15021
    admin_port: Annotated[
        Port, Meta(description="`/config` and `/drain`, on loopback only. Istio's number; 0 takes any free one.")
    ] = 15000
    access_log: Annotated[
        Path, Meta(description="Where the access log goes: `stdout`, `stderr`, `off` or the path of a file.")
    ] = "stdout"
    access_log_query: Annotated[
        bool, Meta(description="Whether logs and spans show query strings. They often carry secrets.")
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The process's own log, on stderr.")
    ] = "info"
    otlp_endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/]+(/\S*)?)?$",
            max_length=2048,
            description="OTLP/HTTP receiver of the spans, `http://collector:4318`; `/v1/traces` is added when it has "
            "no path. Empty: no spans are made.",
        ),
    ] = ""
    otlp_headers: Annotated[
        str,
        Meta(
            max_length=8192,
            pattern=r"^([^\s=,]+=[^,]*(,[^\s=,]+=[^,]*)*)?$",
            description="Header fields for the receiver, `name=value,name=value`.",
            extra={"secret": True},
        ),
    ] = ""
    span_queue: Annotated[
        Count, Meta(description="Spans that may wait for the receiver; more are dropped and counted. 2048 are 3 MB.")
    ] = 2048
    limits: Limits = Limits()


class Mistake(NamedTuple):
    """One variable that cannot be used."""

    variable: str
    value: str  # already redacted
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
    secret: bool


def variables(struct: type[msgspec.Struct], prefix: str) -> Iterator[Variable]:
    """The variables of a struct's fields, in order; structs inside are left out."""
    for field in msgspec.structs.fields(struct):
        if field.name == "limits":
            continue
        metas = [meta for meta in getattr(field.type, "__metadata__", ()) if isinstance(meta, Meta)]
        description = "".join(meta.description or "" for meta in metas)
        secret = any((meta.extra or {}).get("secret") for meta in metas)
        yield Variable(prefix + field.name.upper(), field.name, field.type, field.default, description, secret)


SETTINGS = tuple(variables(Settings, PREFIX))
LIMITS = tuple(variables(Limits, LIMIT_PREFIX))


def read(environment: Mapping[str, str]) -> Settings:
    """The settings of an environment. Raises Unusable with every mistake in it."""
    mistakes: list[Mistake] = []
    limits = _values(LIMITS, environment, mistakes)
    values = _values(SETTINGS, environment, mistakes)
    known = {variable.name for variable in SETTINGS + LIMITS}
    strangers = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    mistakes.extend(Mistake(name, "", _unknown(name, known)) for name in strangers)
    if values.get("discovery") and values.get("snapshot"):
        mistakes.append(
            Mistake("SIDEWINDER_SNAPSHOT", values["snapshot"], "SIDEWINDER_DISCOVERY is set too; choose one")
        )
    mistakes.extend(_of_identity(values))
    mistakes.extend(_of_probes(values.get("pod_address", ""), values.get("probes", "")))
    if "probe_address" in values and not _is_address(values["probe_address"]):
        why = "not an IP address. Right is: 0.0.0.0 for all of IPv4, :: for IPv6, or one of this machine's"
        mistakes.append(Mistake("SIDEWINDER_PROBE_ADDRESS", values["probe_address"], why))
    if mistakes:
        raise Unusable(mistakes)
    return Settings(**values, limits=Limits(**limits))


def _of_identity(values: dict[str, Any]) -> Iterator[Mistake]:
    discovery: str = values.get("discovery", "")
    if not discovery.startswith("https:"):
        return
    if (port := authority(discovery)[1]) > 65535 or not port:
        yield Mistake("SIDEWINDER_DISCOVERY", discovery, f"{port} is not a port. Right is: a number from 1 to 65535")
    for name in ("identity", "token", "bundle"):
        if not values.get(name):
            why = "needed where SIDEWINDER_DISCOVERY is https:. Right is: the path of a "
            yield Mistake(PREFIX + name.upper(), "", why + ("folder" if name == "identity" else "file"))


def _of_probes(address: str, text: str) -> Iterator[Mistake]:
    if (address or text) and not _is_address(address):
        why = "not an IP address. Right is: the pod's, which SIDEWINDER_PROBES needs"
        yield Mistake("SIDEWINDER_POD_ADDRESS", address, why)
    try:
        probes.decode(text)
    except probes.Unusable as fault:
        yield from (
            Mistake("SIDEWINDER_PROBES", "[redacted]", f"{why}. Right is: what the injector writes")
            for why in fault.mistakes
        )


def authority(url: str) -> tuple[str, int]:
    """Host and port of an `https:` URL as SIDEWINDER_DISCOVERY may have it; an IPv6 address without its brackets."""
    text = url.removeprefix("https://").rstrip("/")
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, "15012"
    return host.strip("[]"), int(port)


def _values(table: tuple[Variable, ...], environment: Mapping[str, str], mistakes: list[Mistake]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in table:
        if (text := environment.get(variable.name)) is None:
            continue
        try:
            values[variable.field] = msgspec.convert(text, variable.type, strict=False)
        except msgspec.ValidationError as fault:
            shown = "[redacted]" if variable.secret else text[:100]
            why = str(fault).replace("`", "")
            mistakes.append(Mistake(variable.name, shown, f"{why}. {_right(variable)}"))
    return values


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _right(variable: Variable) -> str:
    default = "" if variable.secret or variable.default == "" else f" Without it: {_text(variable.default)}."
    kind = "" if (found := _kind(variable)) == _KINDS[str] else f"{found}. "
    return f"Right is: {kind}{variable.description}{default}"


def _unknown(name: str, known: set[str]) -> str:
    import difflib  # only a mistake pays for it

    bare = {one.removeprefix(PREFIX): one for one in sorted(known)}
    if near := difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1):
        return f"no such setting; did you mean {bare[near[0]]}?"
    return "no such setting; docs/reference/settings.md has all"


def _text(value: object) -> str:
    """A value as one would write it in the environment."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_KINDS = {int: "integer", float: "number", bool: "`true` or `false`", str: "text"}


def _kind(variable: Variable) -> str:
    """Type and bounds in words."""
    kind, bounds = variable.type, {}
    for meta in getattr(kind, "__metadata__", ()):
        bounds.update({key: getattr(meta, key) for key in ("ge", "gt", "le") if getattr(meta, key, None) is not None})
    kind = getattr(kind, "__origin__", kind)
    while hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    if kind not in _KINDS:
        return ", ".join(f"`{choice}`" for choice in kind.__args__)
    low = f"{bounds['ge']} to " if "ge" in bounds else f"above {bounds['gt']} to " if "gt" in bounds else ""
    return f"{_KINDS[kind]}, {low}{bounds['le']}" if low else _KINDS[kind]


def reference() -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings of the sidecar",
        "",
        "Read once from the environment at start. All mistakes are printed at once, before anything listens.",
        "This page is written by `python -m sidewinder_sidecar.settings`; a test proves it in step.",
    ]
    for title, table in (("Process", SETTINGS), ("Limits", LIMITS)):
        lines += ["", f"## {title}", "", "| variable | value | default | meaning |", "|---|---|---|---|"]
        for variable in table:
            default = f"`{_text(variable.default)}`" if variable.default != "" else "–"
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
