"""Where the chart is."""

from __future__ import annotations

from tests.cluster.support.chart import CHART


def test_the_chart_is_where_it_is_looked_for() -> None:
    assert (CHART / "Chart.yaml").exists()
