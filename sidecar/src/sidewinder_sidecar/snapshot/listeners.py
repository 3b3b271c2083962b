"""Where a proxy listens, and what it serves there. Resource name: `listener/<name>`.

Inbound and outbound are data, not two programs: a listener carries its direction, the code path is one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Direction = Literal["Inbound", "Outbound", "Gateway"]


class ListenerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One listening socket.

    How a request finds its service: by authority (Host or absolute-form target) among `services`; when that names none,
    `default_service`, when that is empty and `pass_through` is set, the authority itself is dialled (a forward proxy).
    """

    name: str
    direction: Direction
    address: str  # IP literal; "0.0.0.0" and "::" are wildcards
    port: int
    protocol: Literal["HTTP", "HTTP/1.1"] = "HTTP"
    services: tuple[str, ...] | None = None  # names of ServiceSpecs; None: every service of the snapshot
    default_service: str = ""  # what serves when the authority names none: inbound, the application itself
    forward_proxy: bool = False  # absolute-form targets of any host and CONNECT are welcome
    pass_through: bool = False  # authorities that no service owns are dialled as they are (outbound: Allow)
    trusted_hops: int = 0  # X-Forwarded-* of the caller is believed from this many hops; 0: replaced
    # Connections come redirected: SO_ORIGINAL_DST says where each wanted to go, and that finds its service. Outbound:
    # `ip:port` among the addresses of `services`; else, with `pass_through`, the original destination itself. Inbound:
    # the service of the original port, else, with `pass_through`, the pod's own address and that port.
    transparent: bool = False
    policy: str = ""  # of the ports that no service of ours stands for (inbound)
    proxy_protocol: tuple[int, ...] = ()  # ports of the pod whose callers begin with PROXY protocol v1 or v2
