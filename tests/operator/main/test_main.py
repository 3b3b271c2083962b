"""The console script: refuses arguments and a wrong environment before anything starts."""

from __future__ import annotations

import pytest

from sidewinder_operator.main import main


def test_it_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
    assert "takes no arguments, not 'serve'" in capsys.readouterr().err


def test_a_wrong_environment_ends_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SIDEWINDER_HEALTH_PORT", "-1")
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "SIDEWINDER_HEALTH_PORT" in capsys.readouterr().err
