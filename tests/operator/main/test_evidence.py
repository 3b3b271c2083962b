"""Who trusts what, from what proxies have told and bundles say."""

from __future__ import annotations

import datetime as dt

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.root import Trust, fingerprint
from sidewinder_operator.authority.rotation import Evidence
from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.main.evidence import Witness

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
FIRST, SECOND = roots.create("cluster.local", NOW), roots.create("cluster.local", NOW)
ANNOUNCED = Trust(FIRST, SECOND)
SWITCHED = roots.switch(ANNOUNCED)
ONE, TWO = fingerprint(FIRST.certificate), fingerprint(SECOND.certificate)


def seen(trust: Trust, **havings: Having) -> Evidence:
    store = Store()
    store.publish({name: {} for name in (*havings, "away")})
    acks = Acks(store)
    for workload, having in havings.items():
        acks.tell(workload, having)
    return Witness(acks, store.pictures.keys, lambda _: {"b", "a"}, lambda: ("r",), lambda uid: f"shop/{uid}").evidence(
        trust
    )


def test_announced_is_enough_for_who_trusts_the_next_root_too() -> None:
    found = seen(ANNOUNCED, both=Having(trusts=(ONE, TWO)), one=Having(trusts=(ONE,)), none=Having())
    assert found == Evidence(
        required=4, bundles=("a", "b"), proxies=("shop/away", "shop/none", "shop/one"), replicas=("r",)
    )


def test_switched_asks_for_a_certificate_of_the_new_root() -> None:
    found = seen(
        SWITCHED,
        new=Having(trusts=(TWO, ONE), renewed=True),
        old=Having(trusts=(TWO, ONE), renewed=False),
        unaware=Having(trusts=(ONE, TWO), renewed=True),  # it means the old one
    )
    assert found.proxies == ("shop/away", "shop/old", "shop/unaware")
