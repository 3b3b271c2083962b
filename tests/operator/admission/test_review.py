"""AdmissionReviews: what is none is told what would be, an answer is what the API server expects."""

from __future__ import annotations

import base64
import json

import pytest

from sidewinder_operator.admission.review import (
    LONGEST_WARNING,
    MOST_WARNINGS,
    Answer,
    GroupKind,
    Request,
    Unreadable,
    decode,
    encode,
)

REQUEST = Request(uid="u1", kind=GroupKind("", "v1", "Pod"), operation="CREATE")


def answered(answer):
    document = json.loads(encode(REQUEST, answer))
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert document["response"]["uid"] == "u1"
    return document["response"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no AdmissionReview in JSON"),
        (b"\xff", "no AdmissionReview in JSON"),
        (b"[]", "no AdmissionReview in JSON"),
        (b"{}", "no kind of no version is not understood"),
        (b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}', "v1beta1 is not understood"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "no request"),
        (
            b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": 3}}',
            "no AdmissionReview in JSON",
        ),
    ],
)
def test_what_cannot_be_read_is_told(body, why):
    with pytest.raises(Unreadable, match=why):
        decode(body)


def test_a_request_is_read_and_unknown_fields_are_passed_over():
    request = {"uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "dryRun": True}
    request |= {"namespace": "shop", "object": {"spec": {}}, "oldObject": None, "userInfo": {}}
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    found = decode(json.dumps(body).encode())
    assert (found.uid, found.kind.kind, found.namespace, found.object) == ("u", "Pod", "shop", {"spec": {}})


def test_a_refusal_says_why():
    response = answered(Answer(refused="because"))
    assert response["allowed"] is False
    assert response["status"] == {"code": 403, "reason": "Forbidden", "message": "because"}


def test_a_patch_travels_as_base64():
    patch = ({"op": "add", "path": "/a", "value": 1},)
    response = answered(Answer(patch=patch))
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == list(patch)
    assert "patch" not in answered(Answer())


def test_warnings_are_short_few_and_of_one_line():
    warnings = ("a\nb", "a\nb", "x" * 1000, *(f"w{n}" for n in range(30)))
    told = answered(Answer(warnings=warnings))["warnings"]
    assert told[0] == "a b"
    assert len(told[1]) == LONGEST_WARNING
    assert len(told) == MOST_WARNINGS + 1
    assert told[-1] == "… and 16 more"
