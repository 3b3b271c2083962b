"""Who is passed over and who is refused; the pods themselves are in tests/golden/injection."""

from __future__ import annotations

import pytest

from sidewinder_operator.inject.annotations import Refused
from sidewinder_operator.inject.options import Options
from sidewinder_operator.inject.patch import ENFORCE, Namespace, inject
from tests.support.json_patch import patched

OPTIONS = Options(image="example.org/sidecar:1")
SHOP = Namespace("shop", {})


def pod(metadata=None, **spec):
    return {"metadata": {"name": "web", **(metadata or {})}, "spec": {"containers": [{"name": "web"}], **spec}}


@pytest.mark.parametrize(
    ("given", "namespace", "reason"),
    [
        (pod(), "kube-system", "is the system's"),
        (pod(), "sidewinder-system", "is the system's"),
        (pod({"labels": {"sidewinder.dev/inject": "disabled"}}), "shop", "has the label"),
        (pod({"labels": {"app.kubernetes.io/part-of": "sidewinder"}}), "shop", "part of Sidewinder"),
        (pod(hostNetwork=True), "shop", "node's network"),
        (pod(os={"name": "windows"}), "shop", "Windows"),
        (pod({"annotations": {"kubernetes.io/config.mirror": "x"}}), "shop", "mirror"),
    ],
)
def test_some_pods_are_passed_over(given, namespace, reason):
    found = inject(given, Namespace(namespace, {}), OPTIONS)
    assert reason in found.passed_over
    assert found.patch == ()


@pytest.mark.parametrize(
    ("level", "refused"), [("baseline", True), ("restricted", True), ("privileged", False), ("", False)]
)
def test_a_namespace_that_forbids_the_rules_is_told_of(level, refused):
    namespace = Namespace("shop", {ENFORCE: level} if level else {})
    if not refused:
        assert inject(pod(), namespace, OPTIONS).patch
        return
    with pytest.raises(Refused, match=f"enforces Pod Security {level}.*set its label .* to privileged"):
        inject(pod(), namespace, OPTIONS)


def test_the_rules_come_first_then_the_proxy_then_everybody_else():
    given = pod(initContainers=[{"name": "first"}])
    made = patched(given, inject(given, SHOP, OPTIONS).patch)
    names = [each["name"] for each in made["spec"]["initContainers"]]
    assert names == ["sidewinder-capture", "sidewinder-proxy", "first"]


def test_a_hook_of_ones_own_stays():
    own = {"preStop": {"sleep": {"seconds": 3}}}
    given = pod(containers=[{"name": "web", "lifecycle": own}])
    made = patched(given, inject(given, SHOP, OPTIONS).patch)
    assert made["spec"]["containers"][0]["lifecycle"] == own


def test_hooks_can_be_declined():
    given = pod({"annotations": {"sidewinder.dev/pre-stop": "disabled"}})
    made = patched(given, inject(given, SHOP, OPTIONS).patch)
    assert "lifecycle" not in made["spec"]["containers"][0]


def test_a_pod_without_metadata_and_with_nulls_is_a_pod():
    given = {"metadata": {"annotations": None}, "spec": {"containers": [{"name": "a"}], "initContainers": None}}
    assert patched(given, inject(given, SHOP, OPTIONS).patch)["spec"]["volumes"]


def test_a_grace_period_below_the_drain_is_told():
    assert "30 s end before the proxy's 40 s" in inject(pod(), SHOP, Options(image="x", drain_seconds=40)).warnings[0]
    assert inject(pod(), SHOP, OPTIONS).warnings == ()


def test_what_was_given_is_not_changed():
    given = pod()
    inject(given, SHOP, OPTIONS)
    assert given == pod()
