"""The file of the chart: read strictly, and a mistake names the key."""

from __future__ import annotations

import pytest

from sidewinder_operator.inject.options import Options, Unusable, load


def test_a_file_is_read(tmp_path):
    path = tmp_path / "injection.json"
    path.write_text('{"image": "x:1", "resources": {"limits": {"memory": "1Gi"}}, "drainSeconds": 40}')
    found = load(str(path))
    assert (found.image, found.resources.limits, found.drain_seconds) == ("x:1", {"memory": "1Gi"}, 40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "image"),
        ('{"image": "x", "imagePullPolcy": "Always"}', "imagePullPolcy"),
        ('{"image": "x", "drainSeconds": 0}', "drainSeconds"),
        ('{"image": "x", "discovery": "http://a"}', "discovery"),
        ('{"image": "x", "excludeInboundPorts": [0]}', "excludeInboundPorts"),
        ("{", "truncated"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, expected):
    path = tmp_path / "injection.json"
    path.write_text(text)
    with pytest.raises(Unusable, match=expected):
        load(str(path))


def test_no_file_is_a_mistake_too(tmp_path):
    with pytest.raises(Unusable, match="No such file"):
        load(str(tmp_path / "none"))


def test_the_defaults_stand_alone():
    assert Options(image="x").system_namespaces[-1] == "sidewinder-system"
