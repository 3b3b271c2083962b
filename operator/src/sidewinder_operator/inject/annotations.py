"""What a pod may ask for: ONE table, from which annotations are read, refused and documented.

`python -m sidewinder_operator.inject.annotations` writes docs/reference/annotations.md; a test proves it in step.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.compile.in_front import HOPS_RIGHT, MOST_HOPS

PREFIX = "sidewinder.dev/"
LABEL = f"{PREFIX}inject"  # on namespaces `enabled`, on pods `disabled`
ENABLED, DISABLED = "enabled", "disabled"
INJECTED = f"{PREFIX}injected"  # written by the injector: the image it added, so that outdated pods are found
MOST = 64  # items of a list: each is a rule that every connection is held against

_QUANTITY = re.compile(r"(0|[1-9]\d*)(\.\d+)?(m|k|Ki|M|Mi|G|Gi)?")


class Refused(Exception):
    """The pod is not taken as it is; `reasons` says everything that is wrong and what would be right."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod's annotations say; None where they say nothing."""

    exclude_inbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_networks: tuple[str, ...] = ()
    cpu_request: str | None = None
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None
    access_log: str | None = None
    log_level: str | None = None
    otlp_endpoint: str | None = None
    drain_seconds: int | None = None
    pre_stop: bool = True
    rewrite_probes: bool = True
    trusted_hops: int = 0
    proxy_protocol: tuple[int, ...] = ()


class Annotation(NamedTuple):
    """One row. `parse` raises ValueError for anything but what `right` says."""

    name: str
    parse: Callable[[str], Any]
    right: str
    example: str
    meaning: str

    @property
    def field(self) -> str:
        """Of `Asked`."""
        return self.name.replace("-", "_")


def _several(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def read(text: str) -> tuple[Any, ...]:
        words = [word.strip() for word in text.split(",") if word.strip()]
        if len(words) > MOST:
            raise ValueError(text)
        return tuple(dict.fromkeys(map(parse, words)))

    return read


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 6 and least <= int(text) <= most):
            raise ValueError(text)
        return int(text)

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


def _matching(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        if len(text) > 2048 or not compiled.fullmatch(text):
            raise ValueError(text)
        return text

    return read


_PORT, _PORTS_RIGHT = _number(1, 65535), f"at most {MOST} ports from 1 to 65535, with commas"
_AMOUNT, _AMOUNT_RIGHT = _matching(_QUANTITY.pattern), "a quantity of Kubernetes such as `100m`, `2` or `64Mi`"

ANNOTATIONS: tuple[Annotation, ...] = (
    Annotation("exclude-inbound-ports", _several(_PORT), _PORTS_RIGHT, "9090,9091",
               "Ports of the pod that callers reach directly, past the proxy."),
    Annotation("exclude-outbound-ports", _several(_PORT), _PORTS_RIGHT, "5432",
               "Destination ports that the pod calls directly, past the proxy. 53 (DNS) always is."),
    Annotation("exclude-outbound-networks", _several(lambda text: str(ip_network(text))),
               f"at most {MOST} networks such as 192.0.2.0/24 or 2001:db8::/32, with commas",
               "192.0.2.0/24,2001:db8::/32",
               "Destinations that the pod calls directly, past the proxy."),
    Annotation("cpu-request", _AMOUNT, _AMOUNT_RIGHT, "50m", "CPU that is set aside for the proxy."),
    Annotation("cpu-limit", _AMOUNT, _AMOUNT_RIGHT, "1", "CPU that the proxy may use at most. A limit costs latency."),
    Annotation("memory-request", _AMOUNT, _AMOUNT_RIGHT, "48Mi", "Memory that is set aside for the proxy."),
    Annotation("memory-limit", _AMOUNT, _AMOUNT_RIGHT, "256Mi", "Memory at which the proxy is ended."),
    Annotation("access-log", _one_of("stdout", "off"), "`stdout` or `off`", "off", "Where the access log goes."),
    Annotation("log-level", _one_of("debug", "info", "warning", "error"), "`debug`, `info`, `warning` or `error`",
               "debug", "How much the proxy says of itself."),
    Annotation("otlp-endpoint", _matching(r"(https?://[^\s/]+(/\S*)?)?"),
               "a URL such as `http://collector:4318`, or nothing",
               "http://collector.tracing:4318", "Where spans go; empty: none are made."),
    Annotation("drain-seconds", _number(1, 3600), "whole seconds from 1 to 3600", "60",
               "How long running requests may take when the pod ends. `terminationGracePeriodSeconds` must be longer."),
    Annotation("pre-stop", lambda text: _one_of(ENABLED, DISABLED)(text) == ENABLED, "`enabled` or `disabled`",
               DISABLED,
               "Whether containers without a preStop hook get one, so that they serve until their callers have been "
               "told that the pod goes."),
    Annotation("rewrite-probes", lambda text: _one_of(ENABLED, DISABLED)(text) == ENABLED, "`enabled` or `disabled`",
               DISABLED,
               "Whether the proxy asks the containers' HTTP and TCP probes for the kubelet. Without that, a TCP probe "
               "passes as soon as the proxy runs."),
    Annotation("trusted-hops", _number(0, MOST_HOPS), HOPS_RIGHT, "1",
               "How many proxies in front of the pod are believed when they say in `X-Forwarded-For` who calls. "
               "Read from the live pod."),
    Annotation("proxy-protocol", _several(_PORT), _PORTS_RIGHT, "8443",
               "Ports of the pod whose callers begin with a PROXY protocol header, version 1 or 2; nobody comes in "
               "there without one. Read from the live pod."),
)  # fmt: skip
_BY_NAME = {PREFIX + row.name: row for row in ANNOTATIONS}


def read(annotations: Mapping[str, str]) -> Asked:
    """What these annotations ask for. Raises Refused with every mistake."""
    mistakes: list[str] = []
    values: dict[str, Any] = {}
    for name in sorted(name for name in annotations if name.startswith(PREFIX) and name != INJECTED):
        row, text = _BY_NAME.get(name), annotations[name]
        if row is None:
            mistakes.append(_unknown(name))
            continue
        try:
            values[row.field] = row.parse(text)
        except ValueError:
            mistakes.append(f"metadata.annotations[{name}]: {text[:64]!r} is not {row.right.replace('`', '')}")
    if mistakes:
        raise Refused(mistakes)
    return Asked(**values)


def _unknown(name: str) -> str:
    if name == LABEL:
        return f"metadata.annotations[{name}]: this is a label, not an annotation: write it under metadata.labels"
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    hint = f"did you mean {near[0]}?" if near else "docs/reference/annotations.md has all"
    return f"metadata.annotations[{name}]: there is no such annotation; {hint}"


_HEAD = f"""# Labels and annotations of injection

This page is written by `python -m sidewinder_operator.inject.annotations`; a test proves it in step.

| label | on | meaning |
|---|---|---|
| `{LABEL}: {ENABLED}` | Namespace | Pods made here from now on get a proxy. |
| `{LABEL}: {DISABLED}` | Pod | This pod gets none. |

Annotations stand on the pod: in a Deployment under `spec.template.metadata.annotations`. Without one, the value of the
installation holds (`proxy` in the chart's values). What is written wrongly, or is none of these, is refused when the
pod is made, and the refusal says why; it is an event of the ReplicaSet.

| annotation | value | example | meaning |
|---|---|---|---|
"""
_TAIL = f"""
The injector writes `{INJECTED}` itself: the image of the proxy that the pod got. `sidewinder check` compares it.
"""


def reference() -> str:
    """docs/reference/annotations.md."""
    rows = (f"| `{PREFIX}{row.name}` | {row.right} | `{row.example}` | {row.meaning} |" for row in ANNOTATIONS)
    return _HEAD + "\n".join(rows) + "\n" + _TAIL


if __name__ == "__main__":
    sys.stdout.write(reference())
