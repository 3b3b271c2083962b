"""What an object's status says: the conditions of `compile`, and how many of the proxies that need it have it. Pure.

`Programmed` is True only for what has been acknowledged everywhere in the generation named: `kubectl wait
--for=condition=Programmed` means "live everywhere".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from sidewinder_operator.compile.conditions import LONGEST_MESSAGE, Condition, Status
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.route import ApiRoute

CONTROLLER = "sidewinder.dev/operator"
EJECTED = "ejected"
MOST_NAMED = 5  # proxies in a message; people look at one or two, and statuses stay small
# kind → where its parts stand, and what they are parts of; other kinds reach no proxy of their own
_PARTS = {ApiRoute.KIND: ("parents", "parentRef"), ApiPolicy.KIND: ("ancestors", "ancestorRef")}


class Why(Protocol):
    """A proxy's reason for refusing it."""

    @property
    def resource(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def why(self) -> str: ...


class Standing(Protocol):
    """How an object stands with the proxies that need it, by their ids."""

    @property
    def required(self) -> int: ...
    @property
    def acknowledged(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def missing(self) -> tuple[str, ...]: ...
    @property
    def rejections(self) -> Mapping[str, Why]: ...


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the data plane has told of one object. `unheard`: operator replicas that cannot be asked."""

    standing: Standing
    unheard: tuple[str, ...] = ()
    name: Callable[[str], str] = str  # what people call a proxy, from its id
    ejected: tuple[Mapping[str, Any], ...] = ()  # endpoints that proxies leave alone by it, as the status has them


Programmed = tuple[str, str, str]  # status, reason, message


def content(kind: str, status: Status, generation: int, told: Told) -> dict[str, Any]:
    """The status, but for the times of its conditions."""
    generation = status.observed_generation or generation
    whole = [_condition(condition, generation) for condition in status.conditions]
    if kind not in _PARTS:
        return {"conditions": whole}
    whole.append(_programmed(status, generation, told))
    standing = told.standing
    parts, ref = _PARTS[kind]
    return {
        "conditions": whole,
        parts: [
            {
                ref: _as_written(part.ref),
                "controllerName": CONTROLLER,
                "conditions": [_condition(condition, generation) for condition in part.conditions],
            }
            for part in status.parts
        ],
        "proxies": {
            "required": standing.required,
            "acknowledged": standing.acknowledged,
            "rejected": standing.rejected,
        },
        **({EJECTED: list(told.ejected)} if told.ejected else {}),
    }


def timed(wanted: dict[str, Any], there: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The status with times: those that stand there already for what is still so, now for what has changed."""
    dated = {**wanted, "conditions": _dated(wanted["conditions"], there.get("conditions"), now)}
    for parts, ref in _PARTS.values():
        if parts in wanted:
            before = list(there.get(parts) or ())
            dated[parts] = [
                {**part, "conditions": _dated(part["conditions"], _part(before, ref, part[ref]), now)}
                for part in wanted[parts]
            ]
    return dated


def same(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether nothing but times differs."""
    return bool(_timeless(wanted) == _timeless(there))


def _condition(condition: Condition, generation: int) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "observedGeneration": generation,
        "reason": condition.reason,
        "message": condition.message[:LONGEST_MESSAGE],
    }


def _programmed(status: Status, generation: int, told: Told) -> dict[str, Any]:
    value, reason, message = _judge(status, told)
    return {
        "type": "Programmed",
        "status": value,
        "observedGeneration": generation,
        "reason": reason,
        "message": message[:LONGEST_MESSAGE],
    }


def _judge(status: Status, told: Told) -> Programmed:
    # 1 not accepted  2 refused by a proxy  3 a replica is silent  4 nobody needs it  5 somebody is missing  6 there
    standing = told.standing
    have = f"{standing.acknowledged} of {standing.required} proxies have it"
    if any(condition.type == "Accepted" and condition.status == "False" for condition in status.conditions):
        why = "it is not accepted: the condition Accepted says why"
        return "False", "NotAccepted", "the last good version serves on" if status.stale else why
    if standing.rejected:
        reasons = (
            f"{told.name(who)}: {why.resource}{': ' if why.field else ''}{why.field}: {why.why}"
            for who, why in sorted(standing.rejections.items())
        )
        return "False", "Rejected", f"{have}; {standing.rejected} refuse it: {_some(reasons, standing.rejected)}"
    if told.unheard:
        unheard = _some(sorted(told.unheard), len(told.unheard))
        return "Unknown", "ReplicaUnreachable", f"operator replicas that cannot be asked: {unheard}"
    if not standing.required:
        return "True", "NoProxies", "no proxy that runs needs it"
    if standing.acknowledged < standing.required:
        missing = _some(map(told.name, standing.missing), len(standing.missing))
        return "False", "Pending", f"{have}; missing: {missing}"
    return "True", "Programmed", have


def _some(names: Iterable[str], count: int) -> str:
    named = [name for name, _ in zip(names, range(MOST_NAMED), strict=False)]
    return ", ".join(named) + (f" and {count - MOST_NAMED} more" if count > MOST_NAMED else "")


def _as_written(ref: Any) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(ref).items() if value is not None}


def _dated(conditions: list[dict[str, Any]], before: Any, now: str) -> list[dict[str, Any]]:
    known = {each.get("type"): each for each in before or ()}
    return [{**each, "lastTransitionTime": _since(known.get(each["type"]), each, now)} for each in conditions]


def _since(before: Mapping[str, Any] | None, condition: Mapping[str, Any], now: str) -> str:
    if before is not None and before.get("status") == condition["status"]:
        return str(before.get("lastTransitionTime") or now)
    return now


def _part(before: list[Any], ref: str, wanted: Any) -> Any:
    return next((part.get("conditions") for part in before if part.get(ref) == wanted), None)


def _timeless(found: Any) -> Any:
    if isinstance(found, Mapping):
        pairs = {name: _timeless(value) for name, value in found.items() if name != "lastTransitionTime"}
        return {name: value for name, value in pairs.items() if value not in ("", [], None)}
    return [_timeless(each) for each in found] if isinstance(found, list) else found
