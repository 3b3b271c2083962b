"""A snapshot made fast: built beside the running one, swapped in by one assignment (`Proxy.adopt`)."""

from __future__ import annotations

from sidewinder_sidecar.plan.build import Plan, build, prepare
from sidewinder_sidecar.plan.guards import Guard
from sidewinder_sidecar.plan.listeners import Listener
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.plan.services import Service

__all__ = ["Guard", "Listener", "Plan", "Refused", "Service", "build", "prepare"]
