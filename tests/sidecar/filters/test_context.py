"""context: what a builder is given is the process's own, not a copy."""

from __future__ import annotations

from sidewinder_sidecar.filters.context import Context
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.snapshot.authentication import Credential, CredentialsSpec, KeysSpec
from sidewinder_sidecar.snapshot.authorization import AddressesSpec
from sidewinder_sidecar.wheel import Wheel

CREDENTIALS = CredentialsSpec(name="shop/keys", credentials=(Credential(id="a", plain="s3cr3t"),))


def context(means: Means) -> Context:
    return Context(
        means,
        Wheel(lambda: 0.0, lambda seconds, call: None),
        {"idp": KeysSpec(name="idp")},
        {"shop/keys": CREDENTIALS},
        {"shop/office/v4": AddressesSpec(name="shop/office/v4")},
        "cluster.local",
    )


def test_what_is_kept_and_counted_outlives_it() -> None:
    means = Means()
    context(means).memory["tokens"] = 7
    context(means).count("mtls", "Deny", "shop/p")
    assert context(means).memory["tokens"] == 7
    assert means.decisions == {("mtls", "Deny", "shop/p"): 1}


def test_a_clock_that_is_set_is_the_clock() -> None:
    means = Means()
    means.clock = lambda: 1_700_000_000.0
    assert context(means).clock() == 1_700_000_000.0


def test_it_shows_no_secret() -> None:
    assert repr(context(Means())) == "<Context 1 keys, 1 credentials, 1 addresses>"
