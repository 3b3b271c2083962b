"""The kubelet's probes of a pod's containers, which the proxy has to ask on its behalf. Called by `patch`; pure.

What a kubelet connects to is the proxy: a TCP probe would pass whether the application is there or not, and an HTTP
probe cannot show a certificate. So both become an HTTP probe of the proxy's probe port, and the proxy is told what to
ask instead (`sidewinder_sidecar.snapshot.probes`). Timing stays with the kubelet. Left as they are: exec, which needs
no connection; gRPC; TCP probes of another host; and ports that callers reach directly.

Idempotent: what an earlier round has rewritten is known by the variable that it gave the proxy.
"""

from __future__ import annotations

import string
import urllib.parse
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.inject.annotations import DISABLED, PREFIX
from sidewinder_operator.inject.options import PROBE
from sidewinder_sidecar.snapshot.probes import (
    FOLDER,
    MOST_BYTES,
    MOST_SECONDS,
    NAME,
    HttpProbe,
    Probe,
    Probes,
    TcpProbe,
    Unusable,
    decode,
    encode,
    path,
)

VARIABLE = "SIDEWINDER_PROBES"
KINDS = {"startupProbe": "startup", "readinessProbe": "readiness", "livenessProbe": "liveness"}
OPT_OUT = f"the annotation {PREFIX}rewrite-probes: {DISABLED}"

Container = dict[str, Any]


class Taken(NamedTuple):
    """Containers as they will be, and what the proxy asks for them."""

    containers: dict[str, list[Container]]  # by the field of the pod's spec
    probes: dict[str, Probe]
    refused: tuple[str, ...]  # why the pod cannot be taken
    left: tuple[str, ...]  # which probes stay, though they should not, and why


class _Left(Exception):
    """This probe stays as it is."""


def take(others: Mapping[str, list[Container]], earlier: Probes, direct: Collection[int], rewrite: bool) -> Taken:
    """The probes of these containers handed to the proxy.

    `others` are the pod's own containers by their field, `earlier` what a round before has handed over, `direct` the
    ports past the proxy. Without `rewrite` only what an earlier round has taken is taken.
    """
    taking = _Taking(earlier, direct, rewrite)
    after = {
        field: [taking.container(f"spec.{field}[{index}]", one) for index, one in enumerate(containers)]
        for field, containers in others.items()
    }
    if (size := len(encode(taking.probes).encode())) > MOST_BYTES:
        taking.refused.append(
            f"the probes of all containers take {size} bytes together, and {MOST_BYTES} is the most: shorten their "
            f"headers, or set {OPT_OUT}"
        )
    return Taken(after, taking.probes, tuple(taking.refused), tuple(taking.left))


class _Taking:
    """One round: what has been taken so far, and what has not."""

    def __init__(self, earlier: Probes, direct: Collection[int], rewrite: bool) -> None:
        self._earlier, self._direct, self._rewrite = earlier, direct, rewrite
        self.probes: dict[str, Probe] = {}
        self.refused: list[str] = []
        self.left: list[str] = []

    def container(self, where: str, container: Container) -> Container:
        """As it will be."""
        changed = {}
        for kind, what in KINDS.items():
            if not (probe := container.get(kind)):
                continue
            name = f"{container.get('name', '')}/{what}"
            found = self._found(f"{where} ({container.get('name', '')}): {kind}", name, container, probe)
            if found is not None:
                self.probes[name] = found
                changed[kind] = _rewritten(name, probe)
        return {**container, **changed} if changed else container

    def _found(self, where: str, name: str, container: Container, probe: dict[str, Any]) -> Probe | None:
        try:
            if (known := _known(name, probe, self._earlier)) is not None or not self._rewrite:
                return known
            return _asked(container, name, probe, self._direct)
        except _Left as why:
            self.left.append(f"{where} is left to the kubelet, which the proxy may stand in the way of: {why}")
        except KeyError as asked:
            self.refused.append(
                f"{where} asks for {asked.args[0]} of the proxy, which only the injector writes: write what the "
                "application itself is asked"
            )
        return None


def handed(containers: Collection[Container], proxy: str) -> Probes:
    """What a round before has handed to the container of this name; nothing where it is not what we write."""
    rows = (row for each in containers if each.get("name") == proxy for row in each.get("env") or ())
    text = next((row.get("value") or "" for row in rows if row.get("name") == VARIABLE), "")
    try:
        return decode(text)
    except Unusable:
        return {}


def _known(name: str, probe: dict[str, Any], earlier: Probes) -> Probe | None:
    """What was taken before; None where this probe is none of ours. Raises KeyError for what nobody has taken."""
    action = probe.get("httpGet") or {}
    asked = str(action.get("path") or "")
    if action.get("port") != PROBE or not asked.startswith(FOLDER):
        return None
    if asked != path(name) or name not in earlier:
        raise KeyError(asked)
    return msgspec.structs.replace(earlier[name], seconds=_seconds(probe))  # another webhook may have changed it


def _asked(container: Container, name: str, probe: dict[str, Any], direct: Collection[int]) -> Probe | None:
    """What to ask for this probe; None where the kubelet can do that itself. Raises _Left."""
    http, tcp = probe.get("httpGet") or {}, probe.get("tcpSocket") or {}
    if not http and (not tcp or tcp.get("host")):
        return None
    written = (http or tcp).get("port")
    port = _number(container, written)
    if not port or not NAME.fullmatch(name):
        raise _Left(f"{written!r} is no port of this container")
    if port in direct or port == PROBE:
        return None
    if not http:
        return TcpProbe(port=port, seconds=_seconds(probe))
    row = {
        "type": "http",
        "port": port,
        "target": _target(str(http.get("path") or "/")),
        "tls": http.get("scheme") == "HTTPS",
        "host": http.get("host") or "",
        "headers": [(each.get("name"), each.get("value") or "") for each in http.get("httpHeaders") or ()],
        "seconds": _seconds(probe),
    }
    try:
        return msgspec.convert(row, HttpProbe)
    except msgspec.ValidationError as fault:
        raise _Left(str(fault).replace("`", "")) from None


def _rewritten(name: str, probe: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in probe.items() if key not in ("httpGet", "tcpSocket")}
    return {**rest, "httpGet": {"path": path(name), "port": PROBE, "scheme": "HTTP"}}


def _target(written: str) -> str:
    """As the kubelet sends it: without a fragment, and what may not stand there escaped."""
    text = urllib.parse.quote(written.partition("#")[0], safe=string.punctuation)
    return text if text.startswith("/") else f"/{text}"


def _seconds(probe: dict[str, Any]) -> int:
    return max(1, min(probe.get("timeoutSeconds") or 1, MOST_SECONDS))


def _number(container: Container, port: object) -> int:
    """A port by its number or its name; 0 where it is none, which the API server and the kubelet say better."""
    if isinstance(port, str):
        declared = container.get("ports") or ()
        port = next((each.get("containerPort") for each in declared if each.get("name") == port), 0)
    return port if isinstance(port, int) and 0 < port < 65536 else 0
