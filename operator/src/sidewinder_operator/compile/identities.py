"""Who answers at an endpoint, by the name in the certificate of its sidecar. Asked by `services`, for every endpoint.

A caller's proxy speaks mTLS to an endpoint that has a name here, and to nobody else there: what the name is comes from
what runs, never from what an EndpointSlice says.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidewinder_operator.mesh.workloads import MeshWorkload


class Identities:
    """Of the workloads with a sidecar of ours."""

    def __init__(self, found: Mapping[str, MeshWorkload], trust_domain: str) -> None:
        self._trust_domain = trust_domain
        self._names: dict[tuple[str, str], str] = {}  # thousands of endpoints share one text
        self._by_uid: dict[str, MeshWorkload] = {}
        self._by_address: dict[str, MeshWorkload] = {}
        for workload in found.values():
            if workload.inbound:
                self._by_uid[workload.uid] = workload
                self._by_address.update(dict.fromkeys(workload.addresses, workload))

    def of(self, workload: MeshWorkload, port: int) -> str:
        """The SPIFFE ID that a workload's sidecar shows at this port; "" where none answers."""
        if not workload.outbound or port in workload.direct:
            return ""
        account = workload.namespace, workload.service_account
        name = self._names.get(account)
        if name is None:
            name = self._names[account] = spiffe_id(self._trust_domain, *account)
        return name

    def at(self, uid: str, address: str, port: int) -> str:
        """The same for an endpoint of a slice: by the pod that it names, else by its address."""
        pod = self._by_uid.get(uid) if uid else self._by_address.get(address)
        return self.of(pod, port) if pod is not None else ""


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """What the CA signs for this service account (`authority.sign.Identity`)."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"
