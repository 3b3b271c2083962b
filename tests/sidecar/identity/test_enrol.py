"""One enrolment against a real authority over TLS, and everything that may be in its way."""

import json
import os
import socket
import stat

import pytest

from sidewinder_sidecar.identity import enrol as module
from sidewinder_sidecar.identity.child import Outcome
from sidewinder_sidecar.identity.enrol import Failed, enrol, main
from sidewinder_sidecar.identity.files import Files
from sidewinder_sidecar.identity.leaf import Unfit
from tests.support.authority import POD, SPIFFE_ID, TOKEN, Place, authority, issued, trust


@pytest.fixture(scope="module")
def operator():
    with authority() as one:
        yield one


@pytest.fixture
def place(tmp_path, operator):
    operator.answer, operator.hang = operator.signed, False
    made = Place(tmp_path)
    made.mount(operator.trust)
    return made


def test_a_token_becomes_a_certificate(operator, place):
    operator.asked.clear()
    leaf = enrol(place.settings(operator.url))
    assert (leaf.spiffe_id, leaf.subject) == (SPIFFE_ID, POD.name)
    held = Files(place.settings(operator.url)).load()
    assert (held.leaf, held.standing) == (leaf, "current")
    ((path, headers),) = operator.asked
    assert path == "/enrol"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["content-type"] == "application/json"
    assert stat.S_IMODE(os.stat(place.identity / "key.pem").st_mode) == 0o600


def test_the_key_is_another_one_each_time_and_stays_here(operator, place):
    sent = []
    operator.answer = lambda body: (sent.append(body), operator.signed(body))[1]
    enrol(place.settings(operator.url))
    first = (place.identity / "key.pem").read_text()
    enrol(place.settings(operator.url))
    assert (place.identity / "key.pem").read_text() != first
    assert all(b"PRIVATE" not in body and b"CERTIFICATE REQUEST" in body for body in sent)


@pytest.mark.parametrize(
    ("answer", "why", "seconds"),
    [
        ((401, {}, {"error": "the token has expired"}), "refused with 401: the token has expired", 0),
        ((403, {}, {"error": "no such pod"}), "refused with 403: no such pod", 0),
        ((429, {"Retry-After": "7"}, {"error": "too many"}), "refused with 429: too many", 7),
        ((503, {"Retry-After": "999999"}, {"error": "later"}), "refused with 503: later", 600),
        ((503, {"Retry-After": "-1"}, {"error": "later"}), "refused with 503: later", 0),
        ((503, {"Retry-After": "soon"}, "no json"), "refused with 503: Told", 0),
        ((302, {"Location": "https://elsewhere/enrol"}, ""), "refused with 302: Told", 0),
        ((200, {}, "no json"), "not the answer of an operator", 0),
        ((200, {}, {"certificate": 1, "bundle": ""}), "not the answer of an operator", 0),
        ((200, {}, {"certificate": "x" * (2 << 20), "bundle": ""}), "an answer of more than 1 MB", 0),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_is_told_with_when_to_ask_again(operator, place, answer, why, seconds):
    operator.answer = lambda body: answer
    with pytest.raises(Failed, match=why) as failed:
        enrol(place.settings(operator.url))
    assert failed.value.retry_after == seconds
    assert not place.identity.exists()


def test_a_certificate_for_another_key_is_not_taken(operator, place):
    enrol(place.settings(operator.url))
    before = (place.identity / "certificate.pem").read_text()
    _, other = issued(operator.trust)
    operator.answer = lambda body: (200, {}, {"certificate": other, "bundle": operator.trust.pem().decode()})
    with pytest.raises(Unfit, match="is not its key"):
        enrol(place.settings(operator.url))
    assert (place.identity / "certificate.pem").read_text() == before


def test_a_server_of_another_mesh_never_sees_the_token(operator, place):
    operator.asked.clear()
    place.mount(trust())
    with pytest.raises(Failed, match="the operator's certificate is not accepted"):
        enrol(place.settings(operator.url))
    assert operator.asked == []


def test_a_server_of_another_name_never_sees_the_token(operator, place):
    operator.asked.clear()
    with pytest.raises(Failed, match=r"not accepted: .*127\.0\.0\.1"):
        enrol(place.settings(f"https://127.0.0.1:{operator.port}"))
    assert operator.asked == []


def test_an_operator_that_hangs_is_left(operator, place, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    operator.hang = True
    with pytest.raises(Failed, match=r"no answer within 0\.3 s"):
        enrol(place.settings(operator.url))


def test_something_that_speaks_no_tls(place, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Failed, match="no answer within"):
        enrol(place.settings(f"https://localhost:{silent.getsockname()[1]}"))


def test_nobody_is_there(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Failed, match=f"localhost:{port}: Connection refused"):
        enrol(place.settings(f"https://localhost:{port}"))
    with pytest.raises(Failed, match=r"nowhere\.invalid:1: "):
        enrol(place.settings("https://nowhere.invalid:1"))


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "x" * 20_000, "ü"])
def test_a_token_that_is_none(operator, place, content):
    operator.asked.clear()
    place.token.write_text(content)
    with pytest.raises(Unfit, match=r"no token\. Right is: a projected one"):
        enrol(place.settings(operator.url))
    assert operator.asked == []


@pytest.mark.parametrize("name", ["token", "bundle"])
def test_a_file_that_is_missing(operator, place, name):
    getattr(place, name).unlink()
    with pytest.raises(Unfit, match=f"{getattr(place, name)}: No such file"):
        enrol(place.settings(operator.url))


@pytest.fixture
def environment(monkeypatch):
    def use(place, url):
        for name, value in place.environment(url).items():
            monkeypatch.setenv(f"SIDEWINDER_{name}", value)
        monkeypatch.setattr(module.signal, "setitimer", lambda *_: None)  # it would end the tests

    return use


def test_the_process_says_how_it_went(operator, place, environment, capsys):
    environment(place, operator.url)
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert Outcome(**json.loads(out)) == Outcome()
    assert err == f"enrolled as {SPIFFE_ID}\n"
    operator.answer = lambda body: (429, {"Retry-After": "3"}, {"error": "too many"})
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert Outcome(**json.loads(out)) == Outcome(why="refused with 429: too many", retry_after=3)
    assert err == "enrolment failed: refused with 429: too many\n"
    assert TOKEN not in out + err


def test_what_it_cannot_do_is_status_2(monkeypatch, capsys):
    assert main(["now"]) == 2
    assert "takes no arguments" in capsys.readouterr().err
    monkeypatch.setenv("SIDEWINDER_DISCOVERY", "unix:/x")
    assert main([]) == 2
    assert "there is no authority" in capsys.readouterr().err
