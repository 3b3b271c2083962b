"""`sidewinder check`: is the cluster fit for Sidewinder, or Sidewinder well in it? Findings, each with what to do.

Called by `main`; calls `findings`, `trust` and `pods` through kubectl.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec

from sidewinder_operator.cli import findings, pods, trust
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.findings import Api, Check, Finding, Place
from sidewinder_operator.cli.kubectl import Refused


def check(api: Api, place: Place) -> list[Finding]:
    """All findings. Raises kubectl.Unreachable."""
    deployment = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/sidewinder-operator"
    installed = api.find(deployment) is not None
    told: list[Finding] = []
    if not installed:
        told.append(Finding(level="ok", about="Sidewinder", message=f"it is not installed in {place.namespace} yet"))
    rest = (*findings.AFTER, *trust.CHECKS, *pods.CHECKS) if installed else findings.BEFORE
    for question in (*findings.ALWAYS, *rest):
        told.extend(_asked(question, api, place))
    return told


def _asked(question: Check, api: Api, place: Place) -> list[Finding]:
    try:
        return list(question(api, place))
    except Refused as refused:
        why = f"it could not be looked at: {refused}"
        return [Finding(level="warning", about=question.__name__, message=why, advice="check with more rights")]


def now() -> dt.datetime:
    """The time here."""
    return dt.datetime.now(dt.UTC)


def show(told: Sequence[Finding], voice: Voice) -> None:
    """A line a finding, and what to do below it."""
    for finding in told:
        say = voice.say if finding.level == "ok" else voice.warn
        say(f"{finding.level}: {finding.about}: {finding.message}")
        if finding.advice:
            say(f"    → {finding.advice}")


def as_json(told: Sequence[Finding]) -> str:
    """The findings for machines."""
    return msgspec.json.format(msgspec.json.encode({"findings": told}), indent=2).decode()
