"""core: kinds as Kubernetes writes them; what it adds is passed over; secrets do not show."""

from __future__ import annotations

import copy

import pytest

from sidewinder_operator.resources.core import EndpointSlice, Secret, Service
from sidewinder_operator.resources.read import read
from tests.support.specimens import specimens


def test_unknown_fields_are_passed_over() -> None:
    raw = copy.deepcopy(specimens()["Service"])
    raw["metadata"]["fieldOfTomorrow"] = {"a": [1]}
    raw["spec"] |= {"internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "trafficDistribution": "PreferClose"}
    raw["spec"]["ports"][0]["nodePort"] = 30080
    found = read(raw).found
    assert isinstance(found, Service)
    assert found.spec.ports[0].target_port == "http"
    assert found.spec.ports[1].target_port == 9090
    assert found.spec.cluster_ip == "10.0.0.7"


@pytest.mark.parametrize(
    ("ports", "fields"),
    [
        ([{"port": 80}], []),
        ([{"port": 80}, {"port": 81}], ["spec.ports[0].name", "spec.ports[1].name"]),
        ([{"port": 80, "name": "a"}, {"port": 81, "name": "a"}], ["spec.ports[1].name"]),
    ],
)
def test_several_ports_need_names(ports: list[dict[str, object]], fields: list[str]) -> None:
    raw = copy.deepcopy(specimens()["Service"])
    raw["spec"]["ports"] = ports
    assert [problem.field for problem in read(raw).problems] == fields


def test_a_slice_names_its_service() -> None:
    raw = copy.deepcopy(specimens()["EndpointSlice"])
    found = read(raw).found
    assert isinstance(found, EndpointSlice)
    assert found.endpoints[0].conditions.terminating is False
    raw["metadata"]["labels"] = {}
    (problem,) = read(raw).problems
    assert (problem.field, problem.reason) == ("metadata.labels", "Required")


def test_a_secret_gives_its_values_and_shows_none() -> None:
    found = read(specimens()["Secret"]).found
    assert isinstance(found, Secret)
    assert found.value("key") == b"secret"
    assert found.value("other") == b"secret"
    assert found.value("none") is None
    assert repr(found) == "Secret(bookinfo/keys, keys=['key', 'other'], [redacted])"
    assert "secret'" not in str(found.__rich_repr__())
