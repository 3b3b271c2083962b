"""A site says where it is, and gives what opens an attempt by a backend's name."""

from sidewinder_sidecar.filters.site import Site
from sidewinder_sidecar.means import Means
from tests.support.memory import Scene


def test_a_site_hands_out_what_the_plan_gave_it():
    asked = []
    site = Site("shop/reviews", "everyone", Means(), Scene().wheel, lambda name: asked.append(name) or len)
    assert site.opens("v2") is len
    assert asked == ["v2"]
    assert repr(site) == "<Site shop/reviews/everyone>"
