"""The table of what is followed, as the API server knows the paths."""

from __future__ import annotations

from sidewinder_operator.watch.kinds import FOLLOWED, path_of


def test_every_kind_has_the_path_that_the_api_server_knows() -> None:
    assert {row.kind: row.path for row in FOLLOWED} == {
        "ApiRoute": "/apis/sidewinder.dev/v1alpha1/apiroutes",
        "ApiPolicy": "/apis/sidewinder.dev/v1alpha1/apipolicies",
        "ExternalWorkload": "/apis/sidewinder.dev/v1alpha1/externalworkloads",
        "Namespace": "/api/v1/namespaces",
        "Service": "/api/v1/services",
        "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
        "Pod": "/api/v1/pods",
    }


def test_one_object_of_ours() -> None:
    assert path_of("ApiPolicy", "shop", "a") == "/apis/sidewinder.dev/v1alpha1/namespaces/shop/apipolicies/a"
