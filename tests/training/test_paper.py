from __future__ import annotations

import numpy as np
import pytest

from perfcast.errors import DataError
from perfcast.training.dataset import DataSet
from perfcast.training.paper import paper_protocol


def test_reports_on_rows_with_power(data: DataSet) -> None:
    runtime, power = paper_protocol(data, trees=10, threads=1)
    tested = round(0.2 * len(data.measured("power_w")))
    for report, quantity in ((runtime, "latency_ms"), (power, "power_w")):
        overall = report.row().scores
        assert report.quantity == quantity
        assert overall.rows == tested
        assert overall.r2 is not None and overall.r2 > 0.5
    again, _ = paper_protocol(data, trees=10, threads=1)
    assert again.to_dict() == runtime.to_dict()


def test_needs_power(data: DataSet) -> None:
    with pytest.raises(DataError, match="no rows"):
        paper_protocol(data.take(np.isnan(data["power_w"])), trees=1)
