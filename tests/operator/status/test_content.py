"""What a status says, case by case, and that times change only with what they are about."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidewinder_operator.compile.conditions import Condition, Part, Status
from sidewinder_operator.resources.route import ParentRef
from sidewinder_operator.resources.shape import Faults, examine
from sidewinder_operator.resources.status import ApiPolicyStatus, ApiRouteStatus, ExternalWorkloadStatus
from sidewinder_operator.status.content import Told, content, same, timed


class Why(msgspec.Struct, frozen=True):
    resource: str = "route/shop/reviews"
    field: str = "rules[0]"
    why: str = "a broken expression"


class Standing(msgspec.Struct, frozen=True):
    required: int = 0
    acknowledged: int = 0
    rejected: int = 0
    missing: tuple[str, ...] = ()
    rejections: dict[str, Why] = {}


WELL = Condition(type="Accepted", status="True", reason="Accepted")
REFUSED = Condition(type="Accepted", status="False", reason="Invalid", message="spec.rules: what is wrong")
MANY = tuple(f"u{number}" for number in range(1, 8))


def programmed(standing: Standing, *, status: Status | None = None, unheard: tuple[str, ...] = ()) -> dict[str, Any]:
    told = Told(standing=standing, unheard=unheard, name=lambda uid: f"shop/{uid}")
    asked = status or Status(observed_generation=3, conditions=(WELL,))
    found = content("ApiRoute", asked, 3, told)
    return next(each for each in found["conditions"] if each["type"] == "Programmed")


@pytest.mark.parametrize(
    ("standing", "wanted", "reason", "message"),
    [
        pytest.param(Standing(), "True", "NoProxies", "no proxy that runs needs it", id="nobody needs it"),
        pytest.param(Standing(2, 2), "True", "Programmed", "2 of 2 proxies have it", id="everybody has it"),
        pytest.param(
            Standing(2, 1, missing=("u2",)),
            "False",
            "Pending",
            "1 of 2 proxies have it; missing: shop/u2",
            id="one is missing",
        ),
        pytest.param(
            Standing(7, 0, missing=MANY),
            "False",
            "Pending",
            "0 of 7 proxies have it; missing: shop/u1, shop/u2, shop/u3, shop/u4, shop/u5 and 2 more",
            id="many are missing",
        ),
        pytest.param(
            Standing(2, 1, 1, ("u2",), {"u2": Why()}),
            "False",
            "Rejected",
            "1 of 2 proxies have it; 1 refuse it: shop/u2: route/shop/reviews: rules[0]: a broken expression",
            id="one refuses",
        ),
    ],
)
def test_programmed(standing: Standing, wanted: str, reason: str, message: str) -> None:
    found = programmed(standing)
    assert (found["status"], found["reason"], found["message"]) == (wanted, reason, message)
    assert found["observedGeneration"] == 3


def test_a_replica_that_cannot_be_asked_makes_it_unknown() -> None:
    found = programmed(Standing(2, 2), unheard=("operator-b",))
    assert (found["status"], found["reason"]) == ("Unknown", "ReplicaUnreachable")
    assert "operator-b" in found["message"]


def test_what_is_not_accepted_is_not_programmed() -> None:
    found = programmed(Standing(2, 2), status=Status(conditions=(REFUSED,), stale=True))
    assert (found["status"], found["reason"], found["message"]) == (
        "False",
        "NotAccepted",
        "the last good version serves on",
    )
    assert found["observedGeneration"] == 3  # of an object that cannot be read, from its metadata


def whole() -> dict[str, Any]:
    part = Part(ref=ParentRef(kind="Service", name="reviews"), conditions=(WELL,))
    status = Status(observed_generation=3, conditions=(WELL,), parts=(part,))
    return content("ApiRoute", status, 3, Told(standing=Standing(2, 1, missing=("u2",))))


def test_the_whole_is_what_the_definition_allows() -> None:
    dated = timed(whole(), {}, "2026-01-01T00:00:00Z")
    faults = Faults(secret=False)
    examine(dated, ApiRouteStatus, faults)
    assert list(faults) == []
    assert dated["parents"][0]["parentRef"] == {"kind": "Service", "name": "reviews"}  # as written: no defaults
    assert dated["proxies"] == {"required": 2, "acknowledged": 1, "rejected": 0}


def test_a_policy_tells_which_endpoints_are_left_alone_as_long_as_there_are_any() -> None:
    times = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:05:00Z"}
    row = {"backend": "b", "endpoint": "10.0.0.1:80", "state": "open", "reason": "tests", "proxies": 3, **times}
    status = Status(observed_generation=3, conditions=(WELL,))
    dated = timed(content("ApiPolicy", status, 3, Told(standing=Standing(2, 2), ejected=(row,))), {}, times["since"])
    faults = Faults(secret=False)
    examine(dated, ApiPolicyStatus, faults)
    assert list(faults) == []
    assert dated["ejected"] == [row]
    well = content("ApiPolicy", status, 3, Told(standing=Standing(2, 2)))
    assert "ejected" not in well
    assert not same(well, dated)


def test_times_change_with_the_status_of_a_condition_alone() -> None:
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    before = timed(whole(), {}, early)
    told = Told(standing=Standing(2, 2))
    part = Part(ref=ParentRef(kind="Service", name="reviews"), conditions=(WELL,))
    now = content("ApiRoute", Status(observed_generation=4, conditions=(WELL,), parts=(part,)), 4, told)
    after = timed(now, before, late)
    assert {each["type"]: each["lastTransitionTime"] for each in after["conditions"]} == {
        "Accepted": early,
        "Programmed": late,
    }
    assert after["parents"][0]["conditions"][0]["lastTransitionTime"] == early


def test_equal_but_for_times_is_the_same() -> None:
    before = timed(whole(), {}, "2026-01-01T00:00:00Z")
    assert same(whole(), before)
    assert same(whole(), {**before, "parents": before["parents"]})
    assert not same(whole(), {**before, "proxies": {**before["proxies"], "acknowledged": 2}})
    assert not same(whole(), {})


def test_what_reaches_no_proxy_of_its_own_is_not_programmed() -> None:
    selected = Condition(type="Selected", status="True", reason="Selected", message="by legacy")
    asked = Status(observed_generation=2, conditions=(WELL, selected))
    found = content("ExternalWorkload", asked, 2, Told(standing=Standing()))
    assert [each["type"] for each in found["conditions"]] == ["Accepted", "Selected"]
    assert found.keys() == {"conditions"}
    faults = Faults(secret=False)
    examine(timed(found, {}, "2026-01-01T00:00:00Z"), ExternalWorkloadStatus, faults)
    assert list(faults) == []
