"""The environment becomes settings, or all its mistakes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidewinder_operator.settings import SETTINGS, Settings, Unusable, read, read_or_exit, reference

INSIDE = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_inside_a_cluster_nothing_need_be_said() -> None:
    found = read(INSIDE)
    assert found == Settings(api_server="https://10.96.0.1:443")
    assert read({"KUBERNETES_SERVICE_HOST": "fd00::1"}).api_server == "https://[fd00::1]:443"


def test_each_variable_is_read() -> None:
    found = read({
        "SIDEWINDER_API_SERVER": "http://127.0.0.1:8001",
        "SIDEWINDER_NAMESPACE": "mesh",
        "SIDEWINDER_POD_NAME": "operator-1",
        "SIDEWINDER_TRACE_PERCENT": "12.5",
        "SIDEWINDER_HEALTH_PORT": "0",
        "SIDEWINDER_LOG_LEVEL": "error",
    })  # fmt: skip
    assert (found.namespace, found.pod_name, found.trace_percent, found.health_port) == ("mesh", "operator-1", 12.5, 0)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(Unusable) as told:
        read({
            "SIDEWINDER_HEALTH_PORT": "http",
            "SIDEWINDER_TRACE_PERCENT": "101",
            "SIDEWINDER_NAMESPACE": "No_Such",
            "SIDEWINDER_LOG_LEVELS": "info",
            "SIDEWINDER_QUITE_ELSE": "x",
        })  # fmt: skip
    assert [mistake.variable for mistake in told.value.mistakes] == [
        "SIDEWINDER_NAMESPACE",
        "SIDEWINDER_TRACE_PERCENT",
        "SIDEWINDER_HEALTH_PORT",
        "SIDEWINDER_LOG_LEVELS",
        "SIDEWINDER_QUITE_ELSE",
        "SIDEWINDER_API_SERVER",
    ]
    text = str(told.value)
    assert "did you mean SIDEWINDER_LOG_LEVEL?" in text
    assert "this is no pod of a cluster" in text
    assert "Right is: `/livez`" in text


def test_what_kubernetes_says_of_services_is_passed_over() -> None:
    links = {
        "SIDEWINDER_OPERATOR_SERVICE_HOST": "10.0.0.1",
        "SIDEWINDER_OPERATOR_SERVICE_PORT": "15012",
        "SIDEWINDER_OPERATOR_SERVICE_PORT_ADMISSION": "9443",
        "SIDEWINDER_OPERATOR_PORT": "tcp://10.0.0.1:15012",
        "SIDEWINDER_OPERATOR_PORT_15012_TCP": "tcp://10.0.0.1:15012",
        "SIDEWINDER_OPERATOR_PORT_15012_TCP_ADDR": "10.0.0.1",
    }
    assert read(INSIDE | links) == read(INSIDE)


def test_every_field_says_what_is_right() -> None:
    assert all(variable.description for variable in SETTINGS)


def test_the_reference_is_in_step() -> None:
    page = Path(__file__).parents[2] / "docs/reference/operator.md"
    assert page.read_text() == reference(), "python -m sidewinder_operator.settings > docs/reference/operator.md"


def test_a_process_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("SIDEWINDER_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as ended:
        read_or_exit()
    assert ended.value.code == 2
    assert "SIDEWINDER_LOG_LEVEL='loud'" in capsys.readouterr().err
