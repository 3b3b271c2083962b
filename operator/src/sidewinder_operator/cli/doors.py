"""The admin doors of proxies, for commands that ask many of them: of a running `up` over this machine's loopback.

A pod's door is asked through `kubectl`. Used by `tls` and `breakers`.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from sidewinder_operator.inject.containers import PROXY

ANSWER_SECONDS = 5.0
LARGEST_ANSWER = 1 << 20  # a table of 1 000 callers is 200 KB


def ask(port: int, page: str) -> Any:
    """What a proxy on this machine answers. Raises OSError, HTTPException and ValueError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        body = answer.read(LARGEST_ANSWER)
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(0, f"{page} is answered with {answer.status}")
    return json.loads(body)


def is_proxied(pod: Any) -> bool:
    """Has the pod a proxy?"""
    return any(each["name"] == PROXY for each in pod["spec"].get("initContainers") or ())


def is_running(pod: Any) -> bool:
    """Has it not ended?"""
    return pod["status"].get("phase") not in ("Succeeded", "Failed")
