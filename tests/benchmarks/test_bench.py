"""The benchmark's own parts: what it asks for, what it writes, and that every subject's configuration is one."""

import importlib.util
import re
import socket
import ssl
import sys
import threading
from pathlib import Path

import jwt
import pytest
import yaml

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot.filters import Fault, Mirror
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import PeakEWMA

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    """The script, loaded with its siblings as when it is run."""
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("bench", FOLDER / "bench.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


def rounds(bench, *cpu):
    return [bench.Round(1000, one, 30.0 + at, 1.5, 9.25) for at, one in enumerate(cpu)]


def test_a_row_has_medians_and_the_cpu_of_each_round(bench):
    assert bench.row("plain", "envoy", rounds(bench, 50.04, 48.0, 61.0), 32.04) == {
        "scenario": "plain",
        "subject": "envoy",
        "cpu_us_per_request": 50.0,
        "memory_mb": 32.0,
        "p50_ms": 1.5,
        "p99_ms": 9.25,
        "rounds": [50.0, 48.0, 61.0],
    }


def test_the_table_says_what_share_of_envoy_each_figure_is(bench):
    rows = [bench.row("plain", name, rounds(bench, cpu), 40.0) for name, cpu in (("sidewinder", 25), ("envoy", 50))]
    lines = bench.report.table(rows).splitlines()
    assert lines[2] == "| plain | sidewinder | 25 (25–25) | 0.50 | 40.0 | 1.00 | 1.5 | 9.25 |"
    assert bench.report.table(rows[:1]).splitlines()[2].count("–") == 3, "without Envoy there is no share"


def test_the_table_replaces_the_last_one_and_nothing_else(bench, tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{bench.report.BEGIN}\nold\n{bench.report.END}\nafter\n")
    monkeypatch.setattr(bench.report, "machine", lambda: "a machine")
    bench.report.keep(readme, [])
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "a machine" in text
    assert "old" not in text


@pytest.mark.parametrize(("words", "right"), [("plain,fast", "there are plain, features"), ("nothing", "no nothing")])
def test_a_wrong_scenario_is_refused_with_the_right_ones(bench, monkeypatch, capsys, words, right):
    monkeypatch.setattr(sys, "argv", ["bench", "--only", words])
    with pytest.raises(SystemExit) as ended:
        bench.arguments()
    assert ended.value.code == 2
    assert right in capsys.readouterr().err


def test_there_are_the_eleven_scenarios_and_four_subjects(bench):
    wanted = ["plain", "features", "resilience", "connections", "reconnect", "download", "upload", "idle"]
    meshes = ["mtls", "mtls-new", "jwt"]
    assert list(bench.SCENARIOS) == wanted + meshes
    beside_envoy = [name for name, one in bench.SCENARIOS.items() if one.subjects == ("sidewinder", "envoy")]
    assert beside_envoy == ["resilience", *meshes]
    assert list(bench.subjects.SUBJECTS) == ["sidewinder", "envoy", "nginx", "haproxy"]


@pytest.mark.parametrize("kind", ["plain", "features", "resilience", "outbound", "inbound", "jwt"])
def test_the_sidecars_configuration_is_a_snapshot(bench, monkeypatch, kind):
    monkeypatch.setattr(bench.subjects, "_PORTS", [bench.subjects.Ports(9000, 9001)])
    found = bench.subjects.mesh(kind, 9002, 9003)
    for name, body in found.items():
        assert snapshot.decode(name, snapshot.encode(body)) == body
    service = next(body for body in found.values() if isinstance(body, ServiceSpec))
    assert {f"route/{name}" for name in service.routes} <= set(found)
    assert bool(service.policy) == (kind in ("inbound", "jwt", "resilience"))
    assert ("9003" in str(found)) == (kind == "outbound"), "only the hop out asks the hop in"


def test_with_all_of_resilience_nothing_of_it_is_left_out_and_features_stay(bench, monkeypatch):
    monkeypatch.setattr(bench.subjects, "_PORTS", [bench.subjects.Ports(9000, 9001)])
    less, more = bench.subjects.mesh("features", 9002), bench.subjects.mesh("resilience", 9002)
    assert less["proxy/self"] == more["proxy/self"]
    for version in ("bench/v1:80", "bench/v2:80"):
        called = more[f"backend/{version}"]
        assert None not in (called.breaker, called.breaker.rate, called.concurrency)
        assert (called.balancing, called.slow_start > 0) == (PeakEWMA(), True)
        assert len(more[f"endpoints/{version}"].endpoints) == 3
        assert version in [check.name for check in more["checks/self"].checks]
    policy = more["policy/bench"]
    assert policy.adaptive_concurrency
    assert None not in (policy.size_limits.request_body, policy.size_limits.response_body)
    for before, after in zip(less["route/bench/all"].rules[1:], more["route/bench/all"].rules[1:], strict=True):
        assert after.filters[: len(before.filters)] == before.filters
        assert [type(one) for one in after.filters[len(before.filters) :]] == [Mirror, Fault]
        assert after.retry == before.retry


def test_envoy_has_the_same_of_resilience():
    (listener,), clusters = yaml.safe_load(template("resilience"))["static_resources"].values()
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert [one["name"] for one in manager["http_filters"]] == ["adaptive_concurrency", "fault", "router"]
    assert all("request_mirror_policies" in route["route"] for route in routes(manager)[1:])
    for cluster in clusters[:2]:
        assert {"circuit_breakers", "outlier_detection", "health_checks", "least_request_lb_config"} <= set(cluster)
        assert len(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]) == 3
    plainer = yaml.safe_load(template("features"))["static_resources"]["listeners"][0]
    assert manager["access_log"] == plainer["filter_chains"][0]["filters"][0]["typed_config"]["access_log"]


def template(kind):
    return re.sub(r"@[a-z]+@", "9", (FOLDER / f"peers/envoy-{kind}.yaml").read_text())


def routes(manager):
    return manager["route_config"]["virtual_hosts"][0]["routes"]


def test_no_template_keeps_a_placeholder(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.subjects, "_PORTS", [bench.subjects.Ports(9000, 9001)])
    for template in sorted(path.name for path in (FOLDER / "peers").iterdir()):
        text = Path(bench.subjects.fill(template, tmp_path, 9002, bench.subjects.Ports(9000, 9001), 9003)).read_text()
        assert not re.search(r"@[a-z]+@", text), template
        assert any(port in text for port in ("9000", "9001", "9003"))


def test_wrks_output_is_read_and_a_wrong_answer_is_no_measurement(bench, monkeypatch):
    measure = sys.modules["measure"]
    text = "  50%    1.25ms\n  99%    2.10s\n  2000 requests in 1.00s, 2MB read\n"
    answers = iter([text, text + "  Non-2xx or 3xx responses: 3\n", text + "  Socket errors: connect 0, read 2\n"])
    clock = iter([1.0, 1.1] * 3)
    monkeypatch.setattr(measure, "cpu_seconds", lambda pids: next(clock))
    monkeypatch.setattr(measure, "memory_mb", lambda pids: 30.0)
    monkeypatch.setattr(measure.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": next(answers)}))
    seen = measure.wrk("http://127.0.0.1:1", (1,), 1, 8)
    assert (seen.requests, round(seen.cpu_us, 3), seen.p50_ms, seen.p99_ms) == (2000, 50.0, 1.25, 2100.0)
    for _ in range(2):
        with pytest.raises(measure.Broken):
            measure.wrk("http://127.0.0.1:1", (1,), 1, 8)


def test_a_newcomer_shows_a_certificate_and_takes_nothing_but_the_whole_answer(bench):
    newcomers, credentials = sys.modules["newcomers"], sys.modules["credentials"]
    place = credentials.folder(credentials.SERVER)
    assert (place / "key.pem").stat().st_mode & 0o777 == 0o600
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "certificate.pem", place / "key.pem")
    context.load_verify_locations(place / "bundle.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["sidewinder/h1"])
    seen = []
    bodies = iter([b"k" * 1024, b"k" * 1023])
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            for body in bodies:
                with context.wrap_socket(listening.accept()[0], server_side=True) as talk:
                    seen.append((talk.getpeercert()["subjectAltName"], talk.selected_alpn_protocol(), talk.recv(4096)))
                    talk.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)

        serving = threading.Thread(target=serve)
        serving.start()
        address = listening.getsockname()
        assert newcomers.one(address) > 0
        with pytest.raises(sys.modules["measure"].Broken):
            newcomers.one(address)
        serving.join(10)
    assert [(names, alpn) for names, alpn, _ in seen] == [
        ((("URI", "spiffe://cluster.local/ns/bench/sa/caller"),), "sidewinder/h1")
    ] * 2


def test_the_token_is_one_that_the_keys_verify(bench):
    credentials = sys.modules["credentials"]
    (key,) = jwt.PyJWKSet.from_json(credentials.jwks()).keys
    claims = jwt.decode(credentials.token(), key, ["RS256"], audience=credentials.AUDIENCE, issuer=credentials.ISSUER)
    assert claims["sub"] == "ada"
