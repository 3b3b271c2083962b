"""Gives Services of type LoadBalancer an address that the machine reaches; what a cloud's controller does.

Started by the supervisor on node1 as `python loadbalancer.py FOLDER`; calls client.py. The machine routes the whole
range to node1, and kube-proxy on every node does the rest. It looks twice a second and holds no state: an
address belongs to the Service whose status names it.
"""

from __future__ import annotations

import http.client
import ipaddress
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.bed.client import Api, Refused
from tests.cluster.bed.layout import Layout

PAUSE = 0.5  # seconds; at that rate looking costs the API server nothing that could be measured
FAMILIES = {"IPv4": 4, "IPv6": 6}


def addresses(service: dict[str, Any]) -> list[str]:
    entries = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [entry["ip"] for entry in entries]


def wanted(service: dict[str, Any]) -> bool:
    return service["spec"]["type"] == "LoadBalancer" and not service["spec"].get("loadBalancerClass")


def free(layout: Layout, family: int, taken: set[str]) -> Iterator[str]:
    pool = ipaddress.ip_network(layout.balancers(family)).hosts()
    return (text for address in pool if (text := str(address)) not in taken)


def decide(layout: Layout, services: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The Services whose addresses must change, and to what."""
    taken = {address for service in services if wanted(service) for address in addresses(service)}
    for service in services:
        current = addresses(service)
        if not wanted(service):
            if current and service["spec"]["type"] != "LoadBalancer":
                yield service, []
            continue
        families = [FAMILIES[family] for family in service["spec"].get("ipFamilies", ["IPv4"])]
        if [ipaddress.ip_address(address).version for address in current] == families:
            continue
        asked = service["spec"].get("loadBalancerIP")
        fresh = [asked if asked and family == 4 else next(free(layout, family, taken)) for family in families]
        taken.update(fresh)
        yield service, fresh


def assign(api: Api, service: dict[str, Any], fresh: list[str]) -> None:
    meta = service["metadata"]
    ingress = [{"ip": address, "ipMode": "VIP"} for address in fresh]
    path = f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}/status"
    api.text(path, "PATCH", {"status": {"loadBalancer": {"ingress": ingress or None}}})
    print(f"{meta['namespace']}/{meta['name']}: {', '.join(fresh) or 'released'}", flush=True)


def main() -> None:
    layout = Layout.load(Path(sys.argv[1]))
    api = Api.from_kubeconfig(layout.pki / "load-balancer.conf", layout.pki / "ca.crt")
    while True:
        try:
            for service, fresh in decide(layout, api.get("/api/v1/services")["items"]):
                assign(api, service, fresh)
        except (Refused, OSError, http.client.HTTPException, ValueError) as error:
            print(f"{time.strftime('%T')} again in a moment: {error}", flush=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
