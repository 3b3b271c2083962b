"""What `sidewinder check` says about the CA: its Secret, a rotation that waits, and the bundles in the namespaces.

Called by `check`, beside `findings` and `pods`. Who may not read the Secret is told so, and nothing else is lost.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority import rotation
from sidewinder_operator.authority.keeper import SECRET
from sidewinder_operator.cli.findings import Api, Check, Finding, Place
from sidewinder_operator.inject.annotations import ENABLED, LABEL
from sidewinder_operator.inject.options import BUNDLE, TRUST

SOON = dt.timedelta(days=30)
ABOUT = "CA"
SLOW = dt.timedelta(hours=2)  # for one stage; what waits longer waits for something that somebody must do


def authority(api: Api, place: Place) -> Iterator[Finding]:
    """The Secret is there, can be used, and will for a while; a rotation goes on."""
    secret = api.find(f"/api/v1/namespaces/{place.namespace}/secrets/{SECRET}")
    if secret is None:
        yield Finding(level="error", about=ABOUT, message=f"the Secret {SECRET} is missing",
                      advice="a replica of the operator makes it as it starts: see its log")  # fmt: skip
        return
    try:
        data = {name: base64.b64decode(text, validate=True) for name, text in (secret.get("data") or {}).items()}
        trust = roots.load(data, place.now)
    except (roots.Unfit, binascii.Error) as fault:
        yield Finding(
            level="error", about=ABOUT, message=f"the Secret {SECRET} cannot be used: {fault}",
            advice="put it right: the operator goes on with the last good one, until it restarts",
        )  # fmt: skip
        return
    end = trust.signing.certificate.not_valid_after_utc
    named = roots.fingerprint(trust.signing.certificate)
    if end - place.now < SOON:
        yield Finding(level="warning", about=ABOUT, message=f"the root {named} ends on {end:%Y-%m-%d}",
                      advice="sidewinder rotate-root")  # fmt: skip
    else:
        yield Finding(level="ok", about=ABOUT, message=f"the root {named} signs, until {end:%Y-%m-%d}")
    yield from _rotation(secret["metadata"].get("annotations") or {}, place)


def _rotation(annotations: Mapping[str, str], place: Place) -> Iterator[Finding]:
    progress = rotation.read(annotations)
    if progress.stage in ("", "done") or progress.request != annotations.get(rotation.REQUEST):
        return
    try:
        slow = place.now - dt.datetime.fromisoformat(progress.since) > SLOW
    except ValueError:
        slow = False
    waits = f", and waits for {progress.waits}" if progress.waits else ""
    yield Finding(
        level="warning" if slow else "ok",
        about=ABOUT,
        message=f"a rotation of the root is {progress.stage} since {progress.since}{waits}",
        advice="restart those pods, or wait: no certificate of the old root outlives a day" if slow else "",
    )


def bundles(api: Api, place: Place) -> Iterator[Finding]:
    """Every enabled namespace has the bundle that the operator's own has."""
    wanted = _bundle(api, place.namespace)
    if not wanted:
        yield Finding(level="error", about="trust", message=f"{place.namespace} has no ConfigMap {TRUST}",
                      advice="the leader writes it within seconds: see leader, and its log")  # fmt: skip
        return
    enabled = [each["metadata"]["name"] for each in api.items("/api/v1/namespaces") if _is_enabled(each)]
    behind = [name for name in enabled if _bundle(api, name) != wanted]
    for name in behind:
        yield Finding(level="error", about=f"namespace {name}", message=f"its ConfigMap {TRUST} is missing or another",
                      advice="see the leader's log: pods there cannot enrol")  # fmt: skip
    if not behind:
        yield Finding(level="ok", about="trust", message=f"{len(enabled)} enabled namespaces have the trust bundle")


def _bundle(api: Api, namespace: str) -> str:
    found = api.find(f"/api/v1/namespaces/{namespace}/configmaps/{TRUST}") or {}
    return str((found.get("data") or {}).get(BUNDLE, ""))


def _is_enabled(namespace: Any) -> bool:
    return (namespace["metadata"].get("labels") or {}).get(LABEL) == ENABLED


CHECKS: tuple[Check, ...] = (authority, bundles)
