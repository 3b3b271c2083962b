"""`sidewinder identity POD`: the certificate that a pod's proxy holds, whom it trusts, and what is wrong with it.

Asks the proxy's admin door, which answers on the pod's loopback alone, through kubectl. Called by `main`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Protocol

import msgspec

from sidewinder_operator.cli.console import Voice
from sidewinder_operator.inject.options import ADMIN

LATE = dt.timedelta(minutes=15)  # after its time a renewal is late: what failed was tried again several times


class Api(Protocol):
    """What `kubectl.Kubectl` gives."""

    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any: ...


class Certificate(msgspec.Struct, frozen=True):
    """What it says, and when it is to be renewed."""

    spiffe_id: str
    pod_uid: str
    serial: str
    not_before: dt.datetime
    not_after: dt.datetime
    renew_at: dt.datetime


class Root(msgspec.Struct, frozen=True):
    """One that the proxy trusts."""

    name: str
    sha256: str
    not_after: dt.datetime


class Identity(msgspec.Struct, frozen=True):
    """The proxy's answer."""

    certificate: Certificate | None
    roots: tuple[Root, ...]
    usable: bool
    enrolments: int
    failures: int
    fault: str


class Unreadable(Exception):
    """What answered is no proxy of ours, or of another version."""


def look(api: Api, namespace: str, pod: str) -> Identity:
    """What the pod's proxy holds. Raises Unreadable, and what kubectl raises."""
    try:
        return msgspec.convert(api.ask(namespace, pod, ADMIN, "/identity"), Identity)
    except msgspec.ValidationError as fault:
        raise Unreadable(f"{namespace}/{pod} answers, but not like a proxy of this version: {fault}") from None


def as_json(found: Identity) -> str:
    """For machines."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def show(found: Identity, now: dt.datetime, voice: Voice) -> None:
    """For people."""
    if (certificate := found.certificate) is not None:
        voice.say(f"{certificate.spiffe_id} (pod {certificate.pod_uid})")
        voice.say(f"    serial {certificate.serial}, from {_time(certificate.not_before)}")
        voice.say(f"    until {_time(certificate.not_after)} ({_span(certificate.not_after - now)} left)")
        voice.say(f"    to be renewed at {_time(certificate.renew_at)}")
    for root in found.roots:
        voice.say(f"    trusts {root.name}, sha256 {root.sha256[:16]}, until {_time(root.not_after)}")
    for line in faults(found, now):
        voice.warn(line)


def faults(found: Identity, now: dt.datetime) -> list[str]:
    """What somebody should see to."""
    certificate, told = found.certificate, []
    if certificate is None:
        told.append("there is no certificate: what was kept serves on, and no configuration comes")
    elif now >= certificate.not_after:
        told.append("the certificate has ended: what was configured serves on, and nothing new comes")
    elif now >= certificate.renew_at + LATE:
        told.append(f"the renewal is late by {_span(now - certificate.renew_at)}")
    if found.fault:
        told.append(f"enrolment: {found.fault}")
    return told


def _time(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _span(span: dt.timedelta) -> str:
    """In the two largest units."""
    seconds = max(int(span.total_seconds()), 0)
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"
