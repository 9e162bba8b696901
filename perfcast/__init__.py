"""perfcast tells what a piece of machine-learning work will cost before it runs.

    >>> import perfcast
    >>> gemm = perfcast.load("gemm")
    >>> answer = gemm.predict(gpu="h200_sxm", dtype="fp8", m=4096, n=4096, k=8192)
    >>> answer["latency_ms"].value, answer["power_w"].value

`graphs`, `features`, `predictors`, `training`, `models` and `serving` are subpackages; this
package holds the nouns they share: Task, Prediction, Bundle, settings and errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from pathlib import Path

    from perfcast.serving.predictor import GemmPredictor, Predictor

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


@overload
def load(
    task: Literal["gemm"], *, version: str | None = None, models_dir: Path | str | None = None
) -> GemmPredictor: ...
@overload
def load(
    task: str, *, version: str | None = None, models_dir: Path | str | None = None
) -> Predictor: ...
def load(
    task: str, *, version: str | None = None, models_dir: Path | str | None = None
) -> Predictor:
    """The predictor of `task` from the shipped models, or from the bundles in `models_dir`.

    `version` picks one of several; the newest is the default. Raises `UnknownTask` if no bundle
    answers that task, `UnknownVersion` if none is of that version, `BundleError` if it is damaged.
    """
    from perfcast.serving.predictor import load as load_predictor

    return load_predictor(task, models_dir=models_dir, version=version)
