"""What is added to a pod is what its parts understand: settings, redirect rules, doors; and locked up as it can be."""

from __future__ import annotations

import pytest

from images.rootfs import UID as IMAGE_UID
from sidewinder_operator.inject import containers, options
from sidewinder_operator.inject.annotations import Asked
from sidewinder_operator.inject.options import Options, Resources
from sidewinder_sidecar import settings
from sidewinder_sidecar.capture import main as capturing
from sidewinder_sidecar.snapshot.probes import HttpProbe, decode

OPTIONS = Options(image="example.org/sidecar:1")
KNOWN = {variable.name for variable in settings.SETTINGS + settings.LIMITS}


def environment(given=OPTIONS, **asked):
    return {each["name"]: each.get("value", "x") for each in containers.environment(given, Asked(**asked))}


def test_the_proxy_runs_as_the_image_says():
    assert options.UID == IMAGE_UID


def test_every_variable_is_one_that_the_sidecar_knows():
    assert environment(otlp_endpoint="http://collector:4318").keys() <= KNOWN


def test_the_sidecar_takes_the_settings():
    given = environment(drain_seconds=7, access_log="off", log_level="debug")
    found = settings.read(given)
    assert settings.authority(found.discovery) == ("sidewinder-operator.sidewinder-system.svc", 15012)
    assert found.identity.startswith(containers.STATE_FOLDER)
    assert found.token.startswith(containers.TOKEN_FOLDER)
    assert found.bundle.startswith(containers.TRUST_FOLDER)
    assert (found.limits.drain_seconds, found.access_log, found.log_level) == (7, "off", "debug")
    assert (found.probe_port, found.admin_port) == (options.PROBE, options.ADMIN)


def test_the_sidecar_takes_the_probes():
    probes = {"web/readiness": HttpProbe(port=80, headers=(("x-a", "$(SIDEWINDER_KEEP)"),))}
    rows = {each["name"]: each for each in containers.environment(OPTIONS, Asked(), probes)}
    assert rows.keys() <= KNOWN
    assert rows["SIDEWINDER_POD_ADDRESS"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    found = settings.read(environment() | {"SIDEWINDER_PROBES": rows["SIDEWINDER_PROBES"]["value"],
                                           "SIDEWINDER_POD_ADDRESS": "192.0.2.1"})  # fmt: skip
    assert decode(found.probes) == probes


def test_the_redirect_rules_are_understood():
    given = Options(image="x", exclude_outbound_ports=(5432,), exclude_outbound_networks=("192.0.2.0/24",))
    asked = Asked(exclude_inbound_ports=(9090,), exclude_outbound_ports=(5432, 6379))
    command = containers.capture(given, asked)["command"]
    assert command[:4] == ["python3", "-m", "sidewinder_sidecar.main", "capture"]
    wanted = capturing.read(capturing._parser().parse_args(command[4:]))
    assert (wanted.uid, wanted.inbound, wanted.outbound) == (65533, 15006, 15001)
    assert wanted.skip_inbound == (options.PROBE, 9090)
    assert wanted.skip_outbound == (5432, 6379)
    assert list(map(str, wanted.skip_networks)) == ["192.0.2.0/24"]


def test_only_the_first_has_a_capability_and_only_one():
    capture, proxy = containers.capture(OPTIONS, Asked()), containers.proxy(OPTIONS, Asked())
    assert capture["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert proxy["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for container in (capture, proxy):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert proxy["securityContext"]["runAsNonRoot"] is True


def test_a_mount_has_its_volume_and_a_volume_its_mount():
    mounted = {mount["name"] for mount in containers.proxy(OPTIONS, Asked())["volumeMounts"]}
    assert mounted == {volume["name"] for volume in containers.volumes()} == containers.OWN_VOLUMES


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}),
        ({"cpu_request": "1"}, {"requests": {"cpu": "1", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}),
        ({"memory_request": "1Gi"}, {"requests": {"cpu": "10m", "memory": "1Gi"}}),
        ({"memory_limit": "32Mi"}, {"requests": {"cpu": "10m"}, "limits": {"memory": "32Mi"}}),
    ],
    ids=["the installation's", "one of the pod's", "a request above the limit", "a limit below the request"],
)
def test_the_pods_word_counts_and_never_contradicts(asked, expected):
    given = Options(
        image="x", resources=Resources(requests={"cpu": "10m", "memory": "48Mi"}, limits={"memory": "256Mi"})
    )
    assert containers.proxy(given, Asked(**asked))["resources"] == expected
