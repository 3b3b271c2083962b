"""The command's frame: help, version, and mistakes in the options."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sidewinder_operator.cli.main import main


def test_version() -> None:
    result = CliRunner().invoke(main, ["version"])
    assert result.output.startswith("sidewinder 0.")


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["up"],
        ["validate"],
        ["status"],
        ["check"],
        ["identity"],
        ["tls"],
        ["breakers"],
        ["mirrors"],
        ["drains"],
        ["authz"],
        ["authz", "check"],
        ["version"],
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_files_are_asked_for() -> None:
    result = CliRunner().invoke(main, ["up"])
    assert result.exit_code == 2
    assert "Missing option '-f'" in result.output


def test_a_port_out_of_range_is_refused() -> None:
    result = CliRunner().invoke(main, ["up", "-f", "x", "--port", "70000"])
    assert result.exit_code == 2
    assert "0<=x<=65535" in result.output


def test_status_of_nobody_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "no `sidewinder up` runs" in result.output


@pytest.mark.parametrize("command", ["breakers", "mirrors", "drains"])
def test_what_is_asked_of_nobody_says_so(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, "--state", str(tmp_path)], env={"PATH": str(tmp_path)})
    assert result.exit_code == 1
    assert "kubectl" in result.output
    assert "no `sidewinder up` runs with its state in" in result.output


def test_check_without_kubectl_says_what_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check"], env={"PATH": str(tmp_path)})
    assert result.exit_code == 1
    assert "kubectl is not on the PATH" in result.output


def test_identity_wants_a_pod_and_kubectl(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["identity"])
    assert result.exit_code == 2
    assert "Missing argument 'POD'" in result.output
    result = CliRunner().invoke(main, ["identity", "reviews-1"], env={"PATH": str(tmp_path)})
    assert result.exit_code == 1
    assert "kubectl is not on the PATH" in result.output


def test_tls_of_nobody_asks_the_cluster(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["tls", "reviews", "--state", str(tmp_path)], env={"PATH": str(tmp_path)})
    assert result.exit_code == 1
    assert "kubectl is not on the PATH" in result.output
    assert "no `sidewinder up` runs with its state in" in result.output


def test_authz_of_nobody_asks_the_cluster(tmp_path: Path) -> None:
    words = ["authz", "check", "--to", "reviews", "--from", "shop/cart", "--state", str(tmp_path)]
    result = CliRunner().invoke(main, words, env={"PATH": str(tmp_path)})
    assert result.exit_code == 2
    assert "kubectl is not on the PATH" in result.output
    assert "no `sidewinder up` runs with its state in" in result.output


@pytest.mark.parametrize("command", ["validate", "status", "check", "identity", "tls", "authz check", "apikey list"])
def test_every_command_that_prints_json_takes_the_short_option(command: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--help"])
    assert "-o, --output" in result.output


def test_drains_of_nobody_asks_the_cluster(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["drains", "--state", str(tmp_path)], env={"PATH": str(tmp_path)})
    assert result.exit_code == 1
    assert "kubectl is not on the PATH" in result.output
