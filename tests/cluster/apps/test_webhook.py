"""The mutating webhook's answer, by the rules of JSON Patch."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.cluster.apps import http1, webhook


def review(body: bytes) -> http1.Message:
    request = http1.Message(("POST", "/mutate", "HTTP/1.1"), [], body)
    head, _, rest = webhook.review(request, "seen").partition(b"\r\n\r\n")
    answer = http1.parse_head(head)
    return http1.Message(answer.start, answer.headers, rest)


@pytest.mark.parametrize("known", [None, {"a": "b"}], ids=["first", "further"])
def test_an_annotation_is_added(known: dict[str, str] | None) -> None:
    metadata = {"name": "x"} | ({"annotations": known} if known else {})
    asked = {"request": {"uid": "u-1", "object": {"metadata": metadata}}}
    response: dict[str, Any] = json.loads(review(json.dumps(asked).encode()).body)["response"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("u-1", True, "JSONPatch")
    patch = json.loads(base64.b64decode(response["patch"]))
    assert patch[-1] == {"op": "add", "path": "/metadata/annotations/sidewinder.test~1webhook", "value": "seen"}
    assert [step["path"] for step in patch[:-1]] == ([] if known else ["/metadata/annotations"])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"request": {"uid": 1}}'])
def test_what_is_no_review_is_refused(body: bytes) -> None:
    assert review(body).start[1] == "400"
