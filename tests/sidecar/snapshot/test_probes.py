"""What the injector hands over arrives as it was, and what it would never write is refused with its name."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.snapshot import probes
from sidewinder_sidecar.snapshot.probes import HttpProbe, TcpProbe, Unusable, decode, encode

WHOLE = HttpProbe(
    port=8443,
    target="/healthz?a=$(HOME)",
    tls=True,
    host="web.example",
    headers=(("X-A", "é$"), ("X-A", "")),
    seconds=7,
)


def test_what_was_written_is_read() -> None:
    given = {"web/readiness": WHOLE, "db/startup": TcpProbe(port=5432), "db/liveness": HttpProbe(port=1)}
    assert decode(encode(given)) == given


def test_kubernetes_finds_nothing_to_expand_in_the_variable() -> None:
    assert "$" not in encode({"web/readiness": WHOLE})


def test_equal_probes_give_equal_text() -> None:
    one = {"a/readiness": TcpProbe(port=1), "b/readiness": TcpProbe(port=2)}
    assert encode(one) == encode(dict(reversed(one.items())))


def test_nothing_is_nothing() -> None:
    assert encode({}) == ""
    assert decode("") == {}


@pytest.mark.parametrize(
    "row",
    [
        '{"type":"http","port":0}',
        '{"type":"http","port":65536}',
        '{"type":"http","port":80,"target":"healthz"}',
        '{"type":"http","port":80,"target":"/a b"}',
        '{"type":"http","port":80,"target":"/a\\r\\nX: y"}',
        '{"type":"http","port":80,"target":"/\\n"}',
        '{"type":"http","port":80,"host":"a\\r\\nX: y"}',
        '{"type":"http","port":80,"host":"a/b"}',
        '{"type":"http","port":80,"headers":[["x y","z"]]}',
        '{"type":"http","port":80,"headers":[["x","z\\r\\nX: y"]]}',
        '{"type":"http","port":80,"headers":[["x","z\\n"]]}',
        '{"type":"http","port":80,"seconds":0}',
        '{"type":"http","port":80,"seconds":3601}',
        '{"type":"http","port":80,"follow":true}',
        '{"type":"tcp","port":80,"target":"/"}',
        '{"type":"exec"}',
        "7",
    ],
)
def test_what_could_not_be_asked_is_refused_by_name(row: str) -> None:
    with pytest.raises(Unusable) as found:
        decode(f'{{"web/readiness":{row},"db/startup":{{"type":"tcp","port":1}}}}')
    assert [mistake.partition(": ")[0] for mistake in found.value.mistakes] == ["web/readiness"]


@pytest.mark.parametrize(
    "name", ["web", "web/", "/readiness", "web/ready", "Web/readiness", "a/b/readiness", "-/startup"]
)
def test_a_name_is_a_container_and_what_is_asked(name: str) -> None:
    with pytest.raises(Unusable, match="is not a container and"):
        decode(f'{{"{name}":{{"type":"tcp","port":1}}}}')


@pytest.mark.parametrize("text", ["[]", "{", "7", "\x00"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match="not a JSON object"):
        decode(text)


def test_the_place_on_the_probe_port() -> None:
    assert probes.path("web/readiness") == "/probes/web/readiness"
