from __future__ import annotations

from pathlib import Path

import pytest

from perfcast.features.tasks import GEMM
from perfcast.training.dataset import DataSet
from perfcast.training.reading import read_data_set
from tests.training.measurements import measurements, write


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """The synthetic measurements, read from a file."""
    folder: Path = tmp_path_factory.mktemp("data")
    return read_data_set(write(folder / "gemm.parquet", measurements()), task=GEMM)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an MLflow store for all tests: making one takes MLflow several seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/tracking.db"
