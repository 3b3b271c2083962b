"""Whose the objects are that the operator makes for itself: they go when the chart goes.

Asked by `lease` and `revisions`, and for the trust bundles, which `main` hands it to; asks the API server. The Lease,
what was good and the bundles name the chart's ClusterRole as their owner, so that an uninstall, by Helm or by `kubectl
delete`, takes them along without a job that would need the right to do it. A ClusterRole, because a bundle lies in
other namespaces, and because nobody deletes that one in an emergency, as people do with a webhook.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sidewinder_operator.apiserver import ApiServer, Refused

_VERSION, _KIND, _NAME = "rbac.authorization.k8s.io/v1", "ClusterRole", "sidewinder-operator-read"
_SECONDS = 3.0  # a Lease waits for it


class Owner:
    """The one of this cluster."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def references(self) -> list[dict[str, Any]]:
        """What goes into metadata.ownerReferences; nothing where there is no chart. Raises one of
        `apiserver.FAILURES`."""
        try:
            answer = await self._api.send("GET", f"/apis/{_VERSION}/clusterroles/{_NAME}", seconds=_SECONDS)
        except Refused as refused:
            if refused.status in (403, 404):  # installed by other means, which also take away what they brought
                return []
            raise
        uid = msgspec.json.decode(answer)["metadata"]["uid"]
        return [{"apiVersion": _VERSION, "kind": _KIND, "name": _NAME, "uid": uid}]
