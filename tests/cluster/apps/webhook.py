"""A mutating webhook that marks what it saw with an annotation.

Called by __main__.py (in a pod, reached by Service) and by tests (on the machine, reached by URL); calls http1.py.
"""

from __future__ import annotations

import base64
import json

from . import http1

ANNOTATION = "sidewinder.test/webhook"


def review(request: http1.Message, mark: str) -> bytes:
    """The AdmissionReview's answer: allowed, with one annotation more."""
    try:
        asked = json.loads(request.body)["request"]
        known = asked["object"]["metadata"].get("annotations")
        uid = asked["uid"]
    except (ValueError, KeyError, TypeError) as error:
        return http1.response(400, f"no AdmissionReview: {error!r}\n".encode())
    escaped = ANNOTATION.replace("/", "~1")
    patch = [] if known else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    patch.append({"op": "add", "path": f"/metadata/annotations/{escaped}", "value": mark})
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    answer = {"uid": uid, "allowed": True, "patchType": "JSONPatch", "patch": encoded}
    return http1.json_response(
        200, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
    )
