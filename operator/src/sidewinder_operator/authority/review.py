"""Who holds a token: asked of the API server by TokenReview, and read strictly. Called by `enrol`.

The review is asked for one audience and its answer must name it: an API server that does not know audiences would
vouch for any token. Source: authentication.k8s.io/v1, TokenReview.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.apiserver import ApiServer

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
SECONDS = 5.0  # the API server verifies a signature and looks at a pod: milliseconds
POD_UID = "authentication.kubernetes.io/pod-uid"
_PREFIX = "system:serviceaccount:"


class Denied(Exception):
    """The token proves nothing that counts here. `reason` is a word for metrics; the text says why."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Holder(NamedTuple):
    """Whose token it is."""

    namespace: str
    service_account: str
    pod: str  # its uid


class _User(msgspec.Struct):
    username: str = ""
    extra: dict[str, list[str]] = {}


class _Status(msgspec.Struct):
    authenticated: bool = False
    audiences: list[str] = []
    user: _User = msgspec.field(default_factory=_User)
    error: str = ""


async def review(api: ApiServer, token: str, audience: str) -> Holder:
    """Who holds this token. Raises Denied, or one of apiserver.FAILURES when that could not be asked."""
    spec = {"token": token, "audiences": [audience]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    answer: Mapping[str, Any] = msgspec.json.decode(await api.send("POST", PATH, body, seconds=SECONDS))
    return holder(answer.get("status") or {}, audience)


def holder(status: Mapping[str, Any], audience: str) -> Holder:
    """What a TokenReview's status says. Raises Denied, or msgspec.DecodeError where it is no such thing."""
    told = msgspec.convert(status, _Status)
    if not told.authenticated:
        raise Denied("token", f"the token is not accepted: {told.error[:256] or 'it is not valid'}")
    if audience not in told.audiences:
        raise Denied("audience", f"the token is not for the audience {audience!r}")
    namespace, _, account = told.user.username.removeprefix(_PREFIX).partition(":")
    if not told.user.username.startswith(_PREFIX) or not namespace or not account:
        raise Denied("user", f"{told.user.username[:128]!r} is no service account")
    pods = told.user.extra.get(POD_UID, [])
    if len(pods) != 1 or not pods[0]:
        raise Denied("unbound", "the token is not bound to a pod: use a projected one")
    return Holder(namespace, account, pods[0])
