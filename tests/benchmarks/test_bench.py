"""The benchmark's own parts: what it asks for, what it writes, and that every subject's configuration is one."""

import importlib.util
import sys
from pathlib import Path

import pytest

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot.services import ServiceSpec

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


def test_there_are_the_seven_scenarios_and_four_subjects(bench):
    wanted = ["plain", "features", "connections", "reconnect", "download", "upload", "idle"]
    assert list(bench.SCENARIOS) == wanted
    assert list(bench.subjects.SUBJECTS) == ["sidewinder", "envoy", "nginx", "haproxy"]


@pytest.mark.parametrize("features", [False, True], ids=["plain", "features"])
def test_the_sidecars_configuration_is_a_snapshot(bench, monkeypatch, features):
    monkeypatch.setattr(bench.subjects, "_PORTS", [bench.subjects.Ports(9000, 9001)])
    found = bench.subjects.mesh(features, 9002)
    for name, body in found.items():
        assert snapshot.decode(name, snapshot.encode(body)) == body
    service = next(body for body in found.values() if isinstance(body, ServiceSpec))
    assert {f"route/{name}" for name in service.routes} <= set(found)


def test_no_template_keeps_a_placeholder(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.subjects, "_PORTS", [bench.subjects.Ports(9000, 9001)])
    for template in sorted(path.name for path in (FOLDER / "peers").iterdir()):
        text = Path(bench.subjects.fill(template, tmp_path, 9002, bench.subjects.Ports(9000, 9001))).read_text()
        assert not any(f"@{key}@" in text for key in ("listen", "backend", "sink", "folder")), template
        assert "9000" in text or "9001" in text


def test_wrks_output_is_read_and_a_wrong_answer_is_no_measurement(bench, monkeypatch):
    measure = sys.modules["measure"]
    text = "  50%    1.25ms\n  99%    2.10s\n  2000 requests in 1.00s, 2MB read\n"
    answers = iter([text, text + "  Non-2xx or 3xx responses: 3\n", text + "  Socket errors: connect 0, read 2\n"])
    clock = iter([1.0, 1.1] * 3)
    monkeypatch.setattr(measure, "cpu_seconds", lambda pid: next(clock))
    monkeypatch.setattr(measure, "memory_mb", lambda pid: 30.0)
    monkeypatch.setattr(measure.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": next(answers)}))
    seen = measure.wrk("http://127.0.0.1:1", 1, 1, 8)
    assert (seen.requests, round(seen.cpu_us, 3), seen.p50_ms, seen.p99_ms) == (2000, 50.0, 1.25, 2100.0)
    for _ in range(2):
        with pytest.raises(measure.Broken):
            measure.wrk("http://127.0.0.1:1", 1, 1, 8)
