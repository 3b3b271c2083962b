"""What holds for every injected pod, as the chart writes it into a file. Read by `main`, used by `containers`.

The ports and the user id are no options: the images, the redirect rules and the probes agree on them.
"""

from __future__ import annotations

import pathlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sidewinder_operator.resources.core import PortNumber

OUTBOUND, INBOUND, PROBE, ADMIN = 15001, 15006, 15021, 15000  # Istio's numbers: people's firewalls know them
UID = 65533  # the sidecar image's user; 65532 is distroless's, and what runs as the proxy is never redirected
AUDIENCE = "sidewinder"
TRUST = "sidewinder-trust"  # the ConfigMap with the bundle that the leader puts into every enabled namespace
BUNDLE = "bundle.pem"  # its key

Quantities = dict[Literal["cpu", "memory", "ephemeral-storage"], Annotated[str, Meta(min_length=1, max_length=32)]]


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a container, as Kubernetes writes them."""

    requests: Quantities = {}
    limits: Quantities = {}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One field per key of the file."""

    image: Annotated[str, Meta(min_length=1, max_length=512)]
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    discovery: Annotated[str, Meta(pattern=r"^https://[^\s/]+\Z", max_length=512)] = (
        "https://sidewinder-operator.sidewinder-system.svc:15012"
    )
    resources: Resources = Resources()
    access_log: Literal["stdout", "off"] = "stdout"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: Annotated[str, Meta(pattern=r"^(https?://[^\s/]+(/\S*)?)?\Z", max_length=2048)] = ""
    drain_seconds: Annotated[int, Meta(ge=1, le=3600)] = 25  # below Kubernetes' 30 s of grace, so that it can end
    exclude_inbound_ports: tuple[PortNumber, ...] = ()
    exclude_outbound_ports: tuple[PortNumber, ...] = ()
    exclude_outbound_networks: tuple[str, ...] = ()
    system_namespaces: tuple[str, ...] = ("kube-system", "kube-node-lease", "kube-public", "sidewinder-system")


class Unusable(ValueError):
    """The file cannot be used; says which and why."""


def load(path: str) -> Options:
    """The options of a JSON file. Raises Unusable."""
    try:
        return msgspec.json.decode(pathlib.Path(path).read_bytes(), type=Options)
    except OSError as fault:
        raise Unusable(f"{path}: {fault.strerror}") from None
    except msgspec.DecodeError as fault:
        raise Unusable(f"{path}: {fault}") from None
