"""What a kubelet asks a pod's containers, as the injector hands it to the proxy: SIDEWINDER_PROBES, a JSON object.

The kubelet asks the proxy's probe port for `path(name)`, and the proxy asks the application at the pod's own address.
Written by the operator's `inject`, checked by `settings`, asked by `main/probing`. A name is `<container>/<what>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

FOLDER = "/probes/"  # of the paths on the probe port
MOST_BYTES = 65_536  # of the whole: one variable of a process may have 128 KiB
MOST_HEADERS = 64
MOST_SECONDS = 3600  # longer than anybody waits for a probe

Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[int, Meta(ge=1, le=MOST_SECONDS)]
# What may stand in a request: no line can be ended early.
Target = Annotated[str, Meta(pattern=r"^/[\x21-\x7e]*\Z", max_length=8192)]
Host = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_:][A-Za-z0-9_.:-]*)?\Z", max_length=253)]
FieldName = Annotated[str, Meta(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z", max_length=256)]
FieldText = Annotated[str, Meta(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*\Z", max_length=16384)]


class HttpProbe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, tag="http"):
    """A GET; passed when the answer's status is 200 to 399. `host`: of the Host field, where no header says it."""

    port: Port
    target: Target = "/"  # path and query as they are sent
    tls: bool = False
    host: Host = ""
    headers: Annotated[tuple[tuple[FieldName, FieldText], ...], Meta(max_length=MOST_HEADERS)] = ()
    seconds: Seconds = 1


class TcpProbe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, tag="tcp"):
    """A connection; passed when it is accepted."""

    port: Port
    seconds: Seconds = 1


Probe: TypeAlias = HttpProbe | TcpProbe
Probes: TypeAlias = Mapping[str, Probe]

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/(startup|readiness|liveness)")
_DECODER: msgspec.json.Decoder[Probe] = msgspec.json.Decoder(Probe)
_WHOLE = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Unusable(ValueError):
    """Some of the probes cannot be used; `mistakes` has each, with the name of its probe."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def path(name: str) -> str:
    """Where the kubelet asks for this probe."""
    return FOLDER + name


def encode(probes: Probes) -> str:
    """The variable's value; "" for none. A `$` is escaped: Kubernetes would expand `$(NAME)` in a variable."""
    if not probes:
        return ""
    return msgspec.json.encode(probes, order="sorted").decode().replace("$", "\\u0024")


def decode(text: str) -> dict[str, Probe]:
    """The probes of a variable's value. Raises Unusable with every mistake."""
    if not text:
        return {}
    try:
        rows = _WHOLE.decode(text)
    except msgspec.DecodeError as fault:
        raise Unusable([f"not a JSON object: {fault}"]) from None
    found: dict[str, Probe] = {}
    mistakes = []
    for name, row in rows.items():
        try:
            found[name] = _DECODER.decode(row)
        except msgspec.DecodeError as fault:
            mistakes.append(f"{name[:80]}: {str(fault).replace('`', '')}")
        if not NAME.fullmatch(name):
            mistakes.append(f"{name[:80]!r} is not a container and `startup`, `readiness` or `liveness`: web/readiness")
    if mistakes:
        raise Unusable(mistakes)
    return found
