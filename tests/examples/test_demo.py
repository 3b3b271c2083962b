"""What the demo shows beside the shares that came; `tests/live/test_demo.py` has it at work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from examples.demo import HERE, Shop
from sidewinder_operator.local.children import Nursery


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path, Nursery(tmp_path), otlp="")
    shutil.copytree(HERE / "canary", made.manifest.parent)
    return made


def test_the_weights_are_those_of_the_manifest(shop: Shop) -> None:
    assert shop.read_weights() == {"v1": 90, "v2": 10}
    shop.write_weights(20, 80)
    assert shop.read_weights() == {"v1": 20, "v2": 80}


@pytest.mark.parametrize("broken", ["wieght: 90", "weight: -1", "weight: [90"])
def test_while_the_manifest_is_broken_the_last_good_weights_are_shown(shop: Shop, broken: str) -> None:
    shop.read_weights()
    text = shop.manifest.read_text()
    shop.manifest.write_text(text.replace("weight: 90", broken).replace("weight: 10}", "weight: 50}"))
    assert shop.read_weights() == {"v1": 90, "v2": 10}
