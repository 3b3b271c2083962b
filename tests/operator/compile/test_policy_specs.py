"""policy_specs: what holds on a port as sent, to the proxies on which it holds and to nobody else."""

from __future__ import annotations

import base64
import json

from sidewinder_operator.compile.compiler import Compiled, Running, compile_cluster
from sidewinder_operator.compile.project import Projector, awaiting
from sidewinder_operator.mesh.workloads import PodReplica, WorkloadPort
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot.authentication import CredentialsSpec
from sidewinder_sidecar.snapshot.authorization import AddressesSpec
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import PolicySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from tests.support.clusters import given, running

HASH = "sha256:" + "ab" * 32
KEY = base64.b64encode(json.dumps({"hash": HASH}).encode()).decode()
MANIFESTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 9080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: other, namespace: shop}}
spec: {{selector: {{app: other}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: shop}}
data: {{abcdefgh23: {KEY}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: office, namespace: shop}}
data: {{v4: "192.0.2.0/24"}}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: all, namespace: shop, uid: a, generation: 3}}
spec:
  targetRefs: [{{kind: Namespace}}]
  mtls: {{mode: Strict}}
  authorization: {{defaultAction: Deny}}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: web, namespace: shop, uid: w, generation: 5}}
spec:
  targetRefs: [{{kind: Service, name: web}}]
  cors: {{allowOrigins: ["https://shop.example"]}}
  authentication: {{providers: [{{name: keys, type: APIKey, apiKey: {{secretRef: {{name: keys}}}}}}]}}
  authorization:
    rules:
    - {{name: office, action: Allow, from: [{{cidrsFrom: [{{configMapRef: {{name: office}}, key: v4}}]}}],
       to: [{{paths: [{{type: PathPrefix, value: /a}}]}}]}}
"""
PORT = WorkloadPort(port=9080, dialled=9080, application=9080)


def pod(name: str, app: str, namespace: str = "shop") -> PodReplica:
    return PodReplica(
        namespace=namespace, name=name, uid=name, addresses=("10.0.0.1",), ports=(PORT,), labels={"app": app}
    )


PODS = (pod("web-1", "web"), pod("web-2", "web"), pod("other-1", "other"), pod("far-1", "web", "lab"))


def compiled(text: str = MANIFESTS, pods: tuple[PodReplica, ...] = PODS) -> Compiled:
    return compile_cluster(given(text).cluster, running=Running(pods=pods))


def test_all_sections_are_sent() -> None:
    sent = Projector(compiled().mesh).snapshot("web-1")
    policy = sent["policy/shop+shop/web"]
    assert isinstance(policy, PolicySpec)
    assert (policy.closed, policy.mtls.mode, policy.mtls.policy) == ("", "Strict", "shop/all")
    assert policy.path_normalization == "Strict", "because a rule has a path"
    assert policy.cors is not None
    assert [section.policy for section in policy.authentication] == ["shop/web"]
    assert [(section.policy, section.default_action) for section in policy.authorization] == [
        ("shop/all", "Deny"),
        ("shop/web", None),
    ]


def test_who_enforces_it_is_told_on_which_port() -> None:
    sent = Projector(compiled().mesh).snapshot("web-1")
    listener, service = sent["listener/inbound"], sent["service/inbound-9080"]
    assert isinstance(listener, ListenerSpec)
    assert isinstance(service, ServiceSpec)
    assert (service.policy, listener.policy) == ("shop+shop/web", "shop+shop/web")
    assert service.protocol == "HTTP", "a port with a section for HTTP is never relayed as TCP"
    assert {each.policy for each in sent.values() if isinstance(each, ServiceSpec)} == {"", "shop+shop/web"}


def test_secrets_and_lists_go_only_where_they_are_needed() -> None:
    projector = Projector(compiled().mesh)
    rides = {
        name: sorted(each for each in projector.resources(name) if each.partition("/")[0] in ("policy", "credentials",
                                                                                              "keys", "addresses"))
        for name in ("web-1", "other-1", "far-1")
    }  # fmt: skip
    assert rides == {
        "web-1": ["addresses/shop/office/v4", "credentials/shop/keys/api-keys", "policy/shop+shop/web"],
        "other-1": ["policy/shop"],
        "far-1": [],
    }
    own, *others = projector.layers("web-1")
    assert "credentials/shop/keys/api-keys" in own.resources
    assert not any("credentials/shop/keys/api-keys" in layer.resources for layer in others)
    sent = projector.snapshot("web-1")
    credentials, addresses = sent["credentials/shop/keys/api-keys"], sent["addresses/shop/office/v4"]
    assert isinstance(credentials, CredentialsSpec)
    assert [(each.id, each.hash) for each in credentials.credentials] == [("abcdefgh23", HASH)]
    assert isinstance(addresses, AddressesSpec)
    assert addresses.cidrs == ("192.0.2.0/24",)


def test_it_is_encoded_once_for_all_and_taken_over_by_the_next_mesh() -> None:
    first = Projector(compiled().mesh)
    one, two = first.resources("web-1"), first.resources("web-2")
    names = ("policy/shop+shop/web", "credentials/shop/keys/api-keys", "addresses/shop/office/v4")
    assert all(one[name] is two[name] for name in names)
    layer = first.layers("web-1")[0]
    second = Projector(compiled().mesh, first)
    assert second.layers("web-1")[0] is layer, "nothing has changed: whoever has it does nothing"


def test_a_changed_secret_is_a_changed_resource_and_no_other() -> None:
    first = Projector(compiled().mesh)
    before = first.resources("web-1")
    other = base64.b64encode(json.dumps({"hash": HASH.replace("ab", "cd")}).encode()).decode()
    after = Projector(compiled(MANIFESTS.replace(KEY, other)).mesh, first).resources("web-1")
    assert {name for name in after if after[name].raw != before[name].raw} == {"credentials/shop/keys/api-keys"}


def test_a_policy_is_in_force_when_those_have_it_that_enforce_it() -> None:
    projector = Projector(compiled().mesh)
    web, all_ = Reference("ApiPolicy", "shop", "web"), Reference("ApiPolicy", "shop", "all")
    assert awaiting(projector.resources("web-1"), web) == ("policy/shop+shop/web",)
    assert awaiting(projector.resources("other-1"), web) == ()
    assert awaiting(projector.resources("other-1"), all_) == ("policy/shop",)
    assert awaiting(projector.resources("far-1"), all_) == ()


def test_what_is_closed_says_so() -> None:
    of = compiled(MANIFESTS.replace("kind: Secret", "kind: ConfigMap").replace("data: {abc", "data: {x: y} #"))
    policy = Projector(of.mesh).snapshot("web-1")["policy/shop+shop/web"]
    assert isinstance(policy, PolicySpec)
    assert policy.closed == "shop/web/authentication"
    other = Projector(of.mesh).snapshot("other-1")["policy/shop"]
    assert isinstance(other, PolicySpec)
    assert other.closed == ""


def test_the_application_of_local_mode_is_behind_the_same() -> None:
    process = """
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {command: [web]}
"""
    cluster = given(MANIFESTS + process).cluster
    sent = Projector(compile_cluster(cluster, running=running(cluster)).mesh).snapshot("LocalProcess/shop/web/0")
    service = sent["service/inbound"]
    assert isinstance(service, ServiceSpec)
    assert service.policy == "shop+shop/web"
    assert "policy/shop+shop/web" in sent
