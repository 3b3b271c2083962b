"""HTTP and TCP probes are asked by the proxy as a kubelet would ask them; what it cannot ask stays as written."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.inject import probes
from sidewinder_sidecar.snapshot.probes import MOST_BYTES, HttpProbe, Probe, Probes, TcpProbe, encode

PORTS = [{"name": "web", "containerPort": 8080}]
TIMING = {
    "initialDelaySeconds": 1, "timeoutSeconds": 7, "periodSeconds": 2, "successThreshold": 1, "failureThreshold": 4,
    "terminationGracePeriodSeconds": 9,
}  # fmt: skip


def container(action: dict[str, object], kind: str = "readinessProbe") -> probes.Container:
    return {"name": "web", "ports": PORTS, kind: {**TIMING, **action}}


def take(
    *containers: probes.Container, earlier: Probes | None = None, direct: int = 0, rewrite: bool = True
) -> probes.Taken:
    return probes.take({"containers": list(containers)}, earlier or {}, {direct}, rewrite)


def asked(action: dict[str, object]) -> Probe:
    taken = take(container(action))
    assert (taken.refused, taken.left) == ((), ())
    return taken.probes["web/readiness"]


@pytest.mark.parametrize(("kind", "what"), probes.KINDS.items())
@pytest.mark.parametrize("action", ["httpGet", "tcpSocket"])
def test_the_kubelet_asks_the_proxy_at_the_same_times(action: str, kind: str, what: str) -> None:
    taken = take(container({action: {"port": 8080}}, kind))
    after = taken.containers["containers"][0]
    assert after[kind] == {**TIMING, "httpGet": {"path": f"/probes/web/{what}", "port": 15021, "scheme": "HTTP"}}
    assert after["ports"] == PORTS
    assert taken.probes == {f"web/{what}": (HttpProbe if action == "httpGet" else TcpProbe)(port=8080, seconds=7)}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"port": "web"}, HttpProbe(port=8080, seconds=7)),
        ({"port": 80, "path": "/a?b=%20&c=$(X)#d"}, HttpProbe(port=80, target="/a?b=%20&c=$(X)", seconds=7)),
        ({"port": 80, "path": "healthz"}, HttpProbe(port=80, target="/healthz", seconds=7)),
        ({"port": 80, "path": "/é b\r\n"}, HttpProbe(port=80, target="/%C3%A9%20b%0D%0A", seconds=7)),
        ({"port": 80, "scheme": "HTTPS", "path": ""}, HttpProbe(port=80, tls=True, seconds=7)),
        ({"port": 80, "scheme": "HTTP", "host": "web.example"}, HttpProbe(port=80, host="web.example", seconds=7)),
        (
            {"port": 80, "httpHeaders": [{"name": "Host", "value": "a"}, {"name": "X-A"}]},
            HttpProbe(port=80, headers=(("Host", "a"), ("X-A", "")), seconds=7),
        ),
    ],
    ids=str,
)
def test_all_that_was_written_is_asked(written: dict[str, object], meant: Probe) -> None:
    assert asked({"httpGet": written}) == meant


@pytest.mark.parametrize(("written", "seconds"), [(None, 1), (0, 1), (-1, 1), (30, 30), (100_000, 3600)])
def test_the_application_has_the_kubelets_time(written: int | None, seconds: int) -> None:
    assert asked({"tcpSocket": {"port": "web"}, "timeoutSeconds": written}) == TcpProbe(port=8080, seconds=seconds)


@pytest.mark.parametrize(
    "action",
    [
        {"grpc": {"port": 8080}},
        {"exec": {"command": ["true"]}},
        {"tcpSocket": {"port": 8080, "host": "192.0.2.1"}},
        {"tcpSocket": {"port": 9999}},
        {"httpGet": {"port": 9999}},
        {"httpGet": {"port": 15021, "path": "/readyz"}},
    ],
    ids=str,
)
def test_what_the_kubelet_can_ask_itself_stays(action: dict[str, object]) -> None:
    given = container(action)
    taken = take(given, direct=9999)
    assert taken == probes.Taken({"containers": [given]}, {}, (), ())
    assert taken.containers["containers"][0] is given


@pytest.mark.parametrize(
    "action",
    [
        {"tcpSocket": {"port": "unheard-of"}},
        {"tcpSocket": {"port": 0}},
        {"httpGet": {"path": "/"}},
        {"httpGet": {"port": 80, "host": "a b"}},
        {"httpGet": {"port": 80, "httpHeaders": [{"name": "X-A", "value": "1\r\nX-B: 2"}]}},
        {"httpGet": {"port": 80, "httpHeaders": [{"value": "1"}]}},
    ],
    ids=str,
)
def test_what_cannot_be_asked_stays_and_is_told(action: dict[str, object]) -> None:
    given = container(action)
    taken = take({"name": "first"}, given)
    assert taken.containers["containers"][1] is given
    assert taken.probes == {}
    (told,) = taken.left
    assert told.startswith("spec.containers[1] (web): readinessProbe is left to the kubelet")


def test_a_second_round_takes_what_the_first_has_taken_and_only_that() -> None:
    first = take(container({"httpGet": {"port": "web", "httpHeaders": [{"name": "X-A", "value": "$(HOME)"}]}}))
    (after,) = first.containers["containers"]
    proxy = {"name": "proxy", "env": [{"name": "A"}, {"name": probes.VARIABLE, "value": encode(first.probes)}]}
    known = probes.handed([{"name": "other"}, proxy], "proxy")
    assert take(after, earlier=known) == first
    assert take(after, earlier=known, rewrite=False) == first
    changed = {**after, "readinessProbe": {"tcpSocket": {"port": 1}}}
    assert take(changed, earlier=known).probes == {"web/readiness": TcpProbe(port=1)}
    slower = {**after, "readinessProbe": {**after["readinessProbe"], "timeoutSeconds": 8}}
    assert take(slower, earlier=known).probes == {
        "web/readiness": msgspec.structs.replace(known["web/readiness"], seconds=8)
    }


@pytest.mark.parametrize("value", ["", "{", '{"web/readiness":{"type":"exec"}}', None])
def test_what_is_none_of_our_variables_is_nothing(value: str | None) -> None:
    assert probes.handed([{"name": "proxy", "env": [{"name": probes.VARIABLE, "value": value}]}], "proxy") == {}
    assert probes.handed([{"name": "proxy"}], "proxy") == {}


@pytest.mark.parametrize("path", ["/probes/web/readiness", "/probes/web/liveness", "/probes/db/readiness", "/probes/"])
def test_what_nobody_has_taken_cannot_be_asked_of_the_proxy(path: str) -> None:
    known: Probes = {"db/readiness": TcpProbe(port=1), "web/liveness": TcpProbe(port=1)}
    (why,) = take(container({"httpGet": {"port": 15021, "path": path}}), earlier=known).refused
    assert f"readinessProbe asks for {path} of the proxy" in why


def test_rewriting_can_be_declined() -> None:
    given = container({"tcpSocket": {"port": 8080}})
    assert take(given, rewrite=False) == probes.Taken({"containers": [given]}, {}, (), ())


def test_more_than_a_variable_holds_is_refused() -> None:
    headers = [{"name": "X-A", "value": "x" * 16_000}] * (MOST_BYTES // 16_000 + 1)
    (why,) = take(container({"httpGet": {"port": 80, "httpHeaders": headers}})).refused
    assert "65536 is the most" in why
    assert "sidewinder.dev/rewrite-probes: disabled" in why


def test_every_container_that_can_have_a_probe_is_looked_at() -> None:
    given = {"httpGet": {"port": 80}}
    native = {"name": "log", "restartPolicy": "Always", "startupProbe": given}
    web = {"name": "web", "startupProbe": given, "readinessProbe": given, "livenessProbe": given}
    taken = probes.take({"initContainers": [native], "containers": [web, {"name": "plain"}]}, {}, (), True)
    assert set(taken.probes) == {"log/startup", "web/startup", "web/readiness", "web/liveness"}
    assert taken.containers["containers"][1] == {"name": "plain"}
