"""The section `mtls`: whether callers must show a certificate of the mesh."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.section import Merging, Section, Side

Mode = Literal["Permissive", "Audit", "Strict"]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]


class Mtls(Section, frozen=True, kw_only=True):
    """What the serving proxy asks of connections; sidecars use mutual TLS among each other with or without it."""

    SIDE: ClassVar[Side] = "Server"
    MERGING: ClassVar[Merging] = "Replace"
    SECURITY: ClassVar[bool] = True
    HTTP: ClassVar[bool] = False  # a connection shows its certificate before it says anything
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service"})

    mode: Annotated[
        Mode,
        Meta(
            description="Strict refuses callers without a certificate of the mesh. Audit lets them pass, counts and "
            "logs them. Permissive lets them pass; it is what holds without a policy. Never weaker than the mesh's."
        ),
    ]
    except_ports: Annotated[
        tuple[PortNumber, ...],
        Meta(
            max_length=64,
            description="Ports of the pod that anybody may call in every mode: health, metrics. The kubelet's probes "
            "come through the proxy's own port and need none.",
        ),
    ] = ()
