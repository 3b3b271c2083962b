from pathlib import Path

import pytest

from sidewinder_sidecar import settings
from sidewinder_sidecar.settings import LIMITS, SETTINGS, Limits, Settings, Unusable, read


def mistakes(**environment):
    with pytest.raises(Unusable) as found:
        read(environment)
    return {mistake.variable: str(mistake) for mistake in found.value.mistakes}


def test_without_anything_the_defaults_hold():
    assert read({"PATH": "/bin"}) == Settings()
    assert read({}).limits == Limits()


def test_values_are_taken():
    found = read(
        {
            "SIDEWINDER_DISCOVERY": "unix:/run/a.sock",
            "SIDEWINDER_PROBE_PORT": "0",
            "SIDEWINDER_ACCESS_LOG_QUERY": "true",
            "SIDEWINDER_LIMIT_HEAD_SECONDS": "0.5",
            "SIDEWINDER_LIMIT_CONNECTIONS": "7",
            "SIDEWINDER_OTLP_ENDPOINT": "https://collector:4318/custom",
            "SIDEWINDER_OTLP_HEADERS": "authorization=Bearer%20x,x-b=1",
        }
    )
    assert (found.discovery, found.probe_port, found.access_log_query) == ("unix:/run/a.sock", 0, True)
    assert (found.limits.head_seconds, found.limits.connections) == (0.5, 7)


WRONG = {
    "DISCOVERY": ["run/a.sock", "unix:", "unix:a", "http://x", "https://", "https://a/b", "https://a b", "https://a:b"],
    "IDENTITY": ["x" * 5000, "a\nb"],
    "TOKEN": ["x" * 5000, "a\0b"],
    "BUNDLE": ["x" * 5000, "a\nb"],
    "POD_NAME": ["UPPER", "a b", "x" * 300],
    "POD_NAMESPACE": ["a.b", "x" * 64],
    "POD_UID": ["a b", "x" * 65],
    "POD_ADDRESS": ["localhost", "x" * 65],
    "PROBES": [
        "[]",
        '{"web/readiness": {"type": "tcp", "port": 0}}',
        '{"web": {"type": "tcp", "port": 80}}',
        "x" * 70000,
    ],
    "SNAPSHOT": ["x" * 5000, "a\nb"],
    "KEEP": ["x" * 5000, "a\0b"],
    "PROBE_ADDRESS": ["", "x" * 300, "localhost", "999.1.1.1", "::1%"],
    "PROBE_PORT": ["", "x", "-1", "65536", "1.5"],
    "ADMIN_PORT": ["80a", "99999999999999999999"],
    "ACCESS_LOG": ["x" * 5000, "\x7f"],
    "ACCESS_LOG_QUERY": ["", "maybe", "2"],
    "LOG_LEVEL": ["", "INFO", "loud"],
    "OTLP_ENDPOINT": ["collector:4318", "http://", "ftp://x", "http://a b"],
    "OTLP_HEADERS": ["no-equals", "=x", "a=1,,"],
    "SPAN_QUEUE": ["0", "-5", "many"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_told_with_what_would_be_right(name, value):
    needed = {"SIDEWINDER_POD_ADDRESS": "192.0.2.1"} if name == "PROBES" else {}
    found = mistakes(**needed, **{f"SIDEWINDER_{name}": value})
    assert list(found) == [f"SIDEWINDER_{name}"]
    (text,) = found.values()
    assert "Right is: " in text
    assert "\n" not in text


def test_type_and_bounds_are_told():
    (text,) = mistakes(SIDEWINDER_LIMIT_REQUEST_LINE="abc").values()
    assert "Right is: integer, 1024 to 1048576. Longest request line." in text
    (text,) = mistakes(SIDEWINDER_LOG_LEVEL="loud").values()
    assert "Right is: `debug`, `info`, `warning`, `error`. " in text
    (text,) = mistakes(SIDEWINDER_OTLP_ENDPOINT="ftp://x").values()
    assert "Right is: OTLP/HTTP receiver" in text


def test_probes_need_an_address():
    probes = '{"web/readiness": {"type": "tcp", "port": 80}}'
    assert read({"SIDEWINDER_PROBES": probes, "SIDEWINDER_POD_ADDRESS": "::1"}).probes == probes
    assert list(mistakes(SIDEWINDER_PROBES=probes)) == ["SIDEWINDER_POD_ADDRESS"]


def test_every_mistake_in_the_probes_is_told_and_nothing_of_their_headers():
    probes = """{"web/readiness": {"type": "tcp", "port": 0}, "web/start": {"type": "http", "port": 1},
        "db/liveness": {"type": "http", "port": 80, "headers": [["authorization", "hunter2\\n"]]}}"""
    with pytest.raises(Unusable) as found:
        read({"SIDEWINDER_PROBES": probes, "SIDEWINDER_POD_ADDRESS": "::1"})
    told = [str(mistake) for mistake in found.value.mistakes]
    assert len(told) == 3
    assert "web/readiness: Expected int >= 1 - at $.port" in told[0]
    assert "web/start" in told[1]
    assert "db/liveness" in told[2]
    assert not any("hunter2" in text for text in told)


@pytest.mark.parametrize("variable", LIMITS, ids=lambda variable: variable.name)
@pytest.mark.parametrize("value", ["", "x", "-1", "0", "nan", "1e99", "inf"])
def test_no_limit_can_be_turned_off_by_mistake(variable, value):
    assert list(mistakes(**{variable.name: value})) == [variable.name]


def test_every_variable_has_a_wrong_value_here():
    assert {f"SIDEWINDER_{name}" for name in WRONG} == {variable.name for variable in SETTINGS}


def test_all_mistakes_come_at_once():
    found = mistakes(
        SIDEWINDER_PROBE_PORT="x", SIDEWINDER_LIMIT_PIPELINED="0", SIDEWINDER_LOG_LEVEL="loud", SIDEWINDER_DISCVERY="y"
    )
    assert len(found) == 4
    assert "'loud'" in found["SIDEWINDER_LOG_LEVEL"]
    assert "did you mean SIDEWINDER_DISCOVERY?" in found["SIDEWINDER_DISCVERY"]


def test_what_is_like_nothing_is_told_too():
    assert "docs/reference/settings.md" in mistakes(SIDEWINDER_ZZZ="1")["SIDEWINDER_ZZZ"]


def test_a_secret_is_never_shown():
    found = mistakes(SIDEWINDER_OTLP_HEADERS="hunter2", SIDEWINDER_OTLP_HEADER="hunter2")
    assert "[redacted]" in found["SIDEWINDER_OTLP_HEADERS"]
    assert not any("hunter2" in text for text in found.values())


def test_two_sources_of_configuration_are_one_too_many():
    found = mistakes(SIDEWINDER_DISCOVERY="unix:/a", SIDEWINDER_SNAPSHOT="/b")
    assert "choose one" in found["SIDEWINDER_SNAPSHOT"]


ENROLLED = {
    "SIDEWINDER_IDENTITY": "/var/lib/identity",
    "SIDEWINDER_TOKEN": "/var/run/token",
    "SIDEWINDER_BUNDLE": "/var/run/bundle.pem",
}


def test_the_operator_over_tls_takes_all_that_an_identity_needs():
    assert (
        read(ENROLLED | {"SIDEWINDER_DISCOVERY": "https://operator.system.svc:15012"}).identity == "/var/lib/identity"
    )
    found = mistakes(SIDEWINDER_DISCOVERY="https://operator.system.svc:15012")
    assert list(found) == list(ENROLLED)
    assert all("Right is: " in text for text in found.values())


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_of_the_operator_that_is_none(port):
    found = mistakes(**ENROLLED, SIDEWINDER_DISCOVERY=f"https://operator:{port}")
    assert f"{port} is not a port" in found["SIDEWINDER_DISCOVERY"]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://a.b.svc:15012", ("a.b.svc", 15012)),
        ("https://a.b.svc", ("a.b.svc", 15012)),
        ("https://a/", ("a", 15012)),
        ("https://[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("https://[2001:db8::1]", ("2001:db8::1", 15012)),
        ("https://192.0.2.1:1", ("192.0.2.1", 1)),
    ],
)
def test_where_the_operator_is(url, place):
    assert read(ENROLLED | {"SIDEWINDER_DISCOVERY": url}).discovery == url
    assert settings.authority(url) == place


def test_the_process_says_all_of_it_and_exits(monkeypatch, capsys):
    monkeypatch.setenv("SIDEWINDER_PROBE_PORT", "x")
    monkeypatch.setenv("SIDEWINDER_ADMIN_PORT", "y")
    with pytest.raises(SystemExit) as left:
        settings.read_or_exit()
    assert left.value.code == 2
    assert [line.partition("=")[0] for line in capsys.readouterr().err.splitlines()] == [
        "SIDEWINDER_PROBE_PORT",
        "SIDEWINDER_ADMIN_PORT",
    ]


def test_the_reference_page_is_in_step():
    page = Path(__file__).parents[2] / "docs/reference/settings.md"
    assert page.read_text() == settings.reference(), (
        "python -m sidewinder_sidecar.settings > docs/reference/settings.md"
    )


def test_every_variable_is_described():
    assert all(variable.description for variable in SETTINGS + LIMITS)
