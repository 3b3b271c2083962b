"""AdmissionReview, v1: a request read, an answer written. Used by `mutate`, `validate` and `server`; pure.

Source: the admission.k8s.io/v1 API. A request that cannot be read raises Unreadable; whoever asks is then told 400.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import msgspec

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
# The API server cuts a warning at 256 characters when there are more than 4096 in all; people read the first few.
LONGEST_WARNING, MOST_WARNINGS = 256, 16


class Unreadable(ValueError):
    """Not an AdmissionReview of a version that is known; says what it is instead."""


class GroupKind(msgspec.Struct, frozen=True):
    """Of what the request is about."""

    group: str = ""
    version: str = ""
    kind: str = ""


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """What is to be admitted. `object` is None when something is deleted."""

    uid: str
    kind: GroupKind
    operation: str
    namespace: str = ""
    name: str = ""
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None


class _Review(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    request: Request | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`refused` says why not; empty: admitted, with `patch` applied."""

    refused: str = ""
    warnings: tuple[str, ...] = ()
    patch: tuple[dict[str, Any], ...] = ()


ADMITTED = Answer()
_decoder = msgspec.json.Decoder(_Review)


def decode(body: bytes) -> Request:
    """The request of an AdmissionReview. Raises Unreadable."""
    try:
        review = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Unreadable(f"no {KIND} in JSON: {fault}") from None
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        raise Unreadable(
            f"{review.kind[:64] or 'no kind'} of {review.api_version[:64] or 'no version'} is not understood: "
            f"{API_VERSION} {KIND} is"
        )
    if review.request is None or not review.request.uid:
        raise Unreadable(f"the {KIND} has no request with a uid")
    return review.request


def encode(request: Request, answer: Answer) -> bytes:
    """The AdmissionReview that answers a request."""
    response: dict[str, Any] = {"uid": request.uid, "allowed": not answer.refused}
    if answer.refused:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": answer.refused}
    elif answer.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(answer.patch)).decode()
    if answer.warnings:
        response["warnings"] = list(_readable(answer.warnings))
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _readable(warnings: Iterable[str]) -> Iterable[str]:
    known = list(dict.fromkeys(warnings))
    for warning in known[:MOST_WARNINGS]:
        line = " ".join(warning.split())  # they travel in an HTTP header
        yield line if len(line) <= LONGEST_WARNING else line[: LONGEST_WARNING - 1] + "…"
    if len(known) > MOST_WARNINGS:
        yield f"… and {len(known) - MOST_WARNINGS} more"
