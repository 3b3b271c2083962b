"""`sidewinder rotate-root`: another root for the mesh. Asks the operator for it, and tells how far it has come.

The operator's leader does the work (`authority.rotation`): this command may be ended and called again at any time.
Called by `main`; reaches the cluster through kubectl. Of the CA's Secret nothing is shown but who the roots are.
"""

from __future__ import annotations

import base64
import datetime as dt
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from cryptography import x509

from sidewinder_operator.authority import rotation
from sidewinder_operator.authority.keeper import SECRET
from sidewinder_operator.authority.root import NEXT, OLD, SIGNING, fingerprint
from sidewinder_operator.authority.rotation import Progress
from sidewinder_operator.cli.console import Voice

LOOK_SECONDS = 2.0
_SAID = {
    "": "asked for: the leader begins within seconds",
    "announced": "1 of 3: the next root is announced; it signs when everybody trusts it",
    "switched": "2 of 3: the next root signs; the old one is forgotten when every certificate is of the next",
    "done": "3 of 3: done; the old root is trusted no longer",
}


class Api(Protocol):
    """What `kubectl.Kubectl` gives."""

    def find(self, path: str) -> Any | None: ...
    def patch(self, kind: str, namespace: str, name: str, body: Any) -> None: ...


class Absent(Exception):
    """There is no CA; says what to do."""


class Root(NamedTuple):
    """One that is trusted: what for, which, and until when."""

    use: str
    name: str
    until: dt.datetime


class Seen(NamedTuple):
    """How it stands. `request` is what was asked for last, empty if never."""

    roots: tuple[Root, ...]
    request: str
    progress: Progress

    @property
    def done(self) -> bool:
        """Nothing is under way."""
        return not self.request or (self.progress.request == self.request and self.progress.stage == "done")


def look(api: Api, namespace: str) -> Seen:
    """How it stands now. Raises Absent, and what kubectl raises."""
    secret = api.find(f"/api/v1/namespaces/{namespace}/secrets/{SECRET}")
    if secret is None:
        raise Absent(f"there is no Secret {namespace}/{SECRET}: is Sidewinder installed there? sidewinder check tells")
    annotations = secret["metadata"].get("annotations") or {}
    found = _roots(secret.get("data") or {})
    return Seen(tuple(found), annotations.get(rotation.REQUEST, ""), rotation.read(annotations))


def _roots(data: dict[str, str]) -> list[Root]:
    found = []
    for use, key in (("signing", SIGNING[0]), ("next", NEXT[0]), ("old", OLD)):
        try:
            certificates = x509.load_pem_x509_certificates(base64.b64decode(data.get(key, "")))
        except ValueError:
            continue
        found += [Root(use, fingerprint(each), each.not_valid_after_utc) for each in certificates]
    return found


def ask(api: Api, namespace: str, now: dt.datetime) -> Seen:
    """Asks for another root, unless that is under way. Raises as `look`."""
    seen = look(api, namespace)
    if not seen.done:
        return seen
    request = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = {"metadata": {"annotations": {rotation.REQUEST: request}}}
    api.patch("secret", namespace, SECRET, body)
    return seen._replace(request=request)


def follow(
    api: Api,
    namespace: str,
    seconds: float,
    tell: Callable[[Progress], object],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Tells each change until it is done; False when the time is over first. Raises as `look`."""
    until = now() + seconds
    told: Progress | None = None
    while True:
        seen = look(api, namespace)
        current = seen.progress if seen.progress.request == seen.request else Progress()
        if current != told:
            tell(current)
            told = current
        if seen.done:
            return True
        if now() >= until:
            return False
        sleep(min(LOOK_SECONDS, max(0.0, until - now())))


def show(seen: Seen, voice: Voice) -> None:
    """The roots, and how far a rotation has come."""
    for root in seen.roots:
        voice.say(f"{root.use}: {root.name} until {root.until:%Y-%m-%d}")
    if not seen.request:
        voice.say("no rotation was asked for")
    else:
        show_progress(seen.progress if seen.progress.request == seen.request else Progress(), voice)


def show_progress(progress: Progress, voice: Voice) -> None:
    """One line of where it is, and one of what it waits for."""
    since = f" (since {progress.since})" if progress.since else ""
    voice.say(_SAID[progress.stage] + since)
    if progress.waits:
        voice.say(f"    waits for {progress.waits}")
