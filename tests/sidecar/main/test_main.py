import pytest

from sidewinder_sidecar import main as package
from sidewinder_sidecar.main import main


def test_arguments_that_are_none(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 2
    assert "SIDEWINDER_*" in capsys.readouterr().err


def test_a_command_gives_the_exit_status(monkeypatch):
    monkeypatch.setitem(package.COMMANDS, "later", lambda: 3)
    with pytest.raises(SystemExit) as left:
        main(["later"])
    assert left.value.code == 3


def test_mistakes_in_the_environment_end_it_before_anything_is_loaded(monkeypatch, capsys):
    monkeypatch.setenv("SIDEWINDER_PROBE_PORT", "x")
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2
    assert "SIDEWINDER_PROBE_PORT" in capsys.readouterr().err


def test_settings_are_judged_without_serving(monkeypatch, capsys):
    monkeypatch.setenv("SIDEWINDER_LIMIT_HEADER_COUNT", "50")
    with pytest.raises(SystemExit) as left:
        main(["settings"])
    assert left.value.code == 0
    monkeypatch.setenv("SIDEWINDER_LIMIT_HEADER_COUNT", "x")
    with pytest.raises(SystemExit) as left:
        main(["settings"])
    assert left.value.code == 2
    assert "SIDEWINDER_LIMIT_HEADER_COUNT" in capsys.readouterr().err


def test_the_init_containers_command_gets_the_words_after_it(capsys):
    with pytest.raises(SystemExit) as left:
        main(["capture", "--uid=0", "--inbound-port=x", "--outbound-port=15001"])
    assert left.value.code == 2
    assert "--inbound-port: 'x' is not a port" in capsys.readouterr().err
