"""The two state machines of the webhooks' certificate, apart and together, with a clock of the test's own."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.serving import (
    LIFETIME,
    OVERLAP_SECONDS,
    SETTLE_SECONDS,
    Publication,
    Serving,
    issue,
)

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAMES = ("sidewinder-operator.sidewinder-system.svc",)


@pytest.fixture(scope="module")
def old():
    return roots.create("cluster.local", NOW)


@pytest.fixture(scope="module")
def new():
    return roots.create("cluster.local", NOW + dt.timedelta(days=1))


def certificates(pem):
    return x509.load_pem_x509_certificates(pem)


def prints(found):
    return {roots.fingerprint(each) for each in found}


def test_a_certificate_is_a_servers_and_carries_the_names(old):
    served = issue(NAMES, roots.Trust(old), NOW)
    names = served.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == NAMES
    usage = served.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]
    assert roots.signed_by(served.certificate, old.certificate)
    assert "PRIVATE" not in repr(served)


def test_it_never_outlives_its_root(new):
    brief = roots.create("cluster.local", NOW, dt.timedelta(days=1))
    served = issue(NAMES, roots.Trust(brief), NOW)
    assert served.certificate.not_valid_after_utc == brief.certificate.not_valid_after_utc


def test_the_first_needs_nobody_and_is_renewed_at_half(old):
    serving, trust = Serving(NAMES), roots.Trust(old)
    assert serving.step(trust, (), NOW, 0)
    first = serving.served
    assert not serving.step(trust, (), NOW + LIFETIME * 0.49, 1)
    assert serving.served is first
    assert serving.step(trust, (), NOW + LIFETIME * 0.51, 2)
    assert serving.served is not first


def test_another_root_is_used_when_it_has_been_trusted_for_a_while(old, new):
    serving = Serving(NAMES)
    serving.step(roots.Trust(old), (), NOW, 0)
    switched = roots.switch(roots.announce(roots.Trust(old), new))
    assert not serving.step(switched, [old.certificate], NOW, 10)
    assert not serving.step(switched, [old.certificate, new.certificate], NOW, 20)
    assert not serving.step(switched, [old.certificate], NOW, 25), "it was taken away: the wait begins again"
    assert not serving.step(switched, [old.certificate, new.certificate], NOW, 30)
    assert not serving.step(switched, [old.certificate, new.certificate], NOW, 29 + SETTLE_SECONDS)
    assert serving.step(switched, [old.certificate, new.certificate], NOW, 30 + SETTLE_SECONDS)
    assert serving.served.issuer == roots.fingerprint(new.certificate)


def test_one_that_has_ended_is_replaced_whatever_is_trusted(old, new):
    serving = Serving(NAMES)
    serving.step(roots.Trust(old), (), NOW, 0)
    assert serving.step(roots.Trust(new), (), NOW + LIFETIME, 1)


def test_what_is_trusted_grows_at_once_and_shrinks_late(old, new):
    publication = Publication()
    announced = roots.announce(roots.Trust(old), new)
    assert prints(certificates(publication.step(roots.Trust(old), (), (), 0))) == prints([old.certificate])
    held = [old.certificate]
    assert publication.step(roots.Trust(old), held, held, 1) is None
    both = certificates(publication.step(announced, held, held, 2))
    assert prints(both) == prints([old.certificate, new.certificate])
    forgotten = roots.forget(roots.switch(announced))
    assert publication.step(forgotten, both, both, 3) is None
    assert publication.step(forgotten, both, both, 2 + OVERLAP_SECONDS) is None
    assert prints(certificates(publication.step(forgotten, both, both, 3 + OVERLAP_SECONDS))) == prints(
        [new.certificate]
    )


def test_a_root_that_is_replaced_without_announcement_overlaps_all_the_same(old, new):
    publication, held = Publication(), [old.certificate]
    grown = certificates(publication.step(roots.Trust(new), held, held, 0))
    assert prints(grown) == prints([old.certificate, new.certificate])


def test_a_webhook_that_lost_its_bundle_takes_nothing_from_the_others(old, new):
    wanted = Publication().step(roots.Trust(new), (), [old.certificate], 0)
    assert prints(certificates(wanted)) == prints([old.certificate, new.certificate])


def test_together_the_served_certificate_is_trusted_at_every_second(old, new):
    """Leader and replica look at different times; the replica sees what was published up to ten seconds late."""
    serving, publication = Serving(NAMES), Publication()
    published, seen, trust = [old.certificate], [old.certificate], roots.Trust(old)
    serving.step(trust, seen, NOW, 0)
    changes = {30: lambda t: roots.announce(t, new), 60: roots.switch, 400: roots.forget}
    for second in range(700):
        trust = changes[second](trust) if second in changes else trust
        if second % 10 == 3 and (pem := publication.step(trust, published, published, second)):
            published = certificates(pem)
        if second % 10 == 7:
            serving.step(trust, seen, NOW, second)
            seen = published
        assert serving.served.issuer in prints(published), second
    assert prints(published) == prints([new.certificate])
    assert serving.served.issuer == roots.fingerprint(new.certificate)
