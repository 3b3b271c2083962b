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


def probed(**annotations):
    found = pod(
        {"annotations": {f"sidewinder.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}}
    )
    found["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 5432}}
    return found


def test_a_probe_that_the_proxy_would_answer_is_asked_by_it():
    after = patched(probed(), inject(probed(), SHOP, OPTIONS).patch)
    assert after["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/probes/web/readiness"
    environment = {each["name"]: each for each in after["spec"]["initContainers"][1]["env"]}
    assert environment["SIDEWINDER_PROBES"]["value"] == '{"web/readiness":{"port":5432,"type":"tcp"}}'
    assert environment["SIDEWINDER_POD_ADDRESS"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert inject(after, SHOP, OPTIONS).patch == ()


@pytest.mark.parametrize("annotations", [{"exclude_inbound_ports": "5432"}, {"rewrite_probes": "disabled"}])
def test_a_probe_that_passes_the_proxy_by_or_was_declined_stays(annotations):
    given = probed(**annotations)
    after = patched(given, inject(given, SHOP, OPTIONS).patch)
    assert after["spec"]["containers"][0]["readinessProbe"] == {"tcpSocket": {"port": 5432}}
    assert not {"SIDEWINDER_PROBES", "SIDEWINDER_POD_ADDRESS"} & {
        each["name"] for each in after["spec"]["initContainers"][1]["env"]
    }


def test_a_question_to_the_proxy_that_the_injector_did_not_write_is_refused_with_everything_else():
    given = pod(securityContext={"runAsUser": 65533})
    given["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"port": 15021, "path": "/probes/web/liveness"}}
    with pytest.raises(Refused) as found:
        inject(given, SHOP, OPTIONS)
    assert len(found.value.reasons) == 2


def test_a_probe_that_cannot_be_asked_is_told():
    given = probed()
    given["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"] = "db"
    (told,) = inject(given, SHOP, OPTIONS).warnings
    assert "'db' is no port of this container" in told


def test_what_was_given_is_not_changed():
    given = pod()
    inject(given, SHOP, OPTIONS)
    assert given == pod()
