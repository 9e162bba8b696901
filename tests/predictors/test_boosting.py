from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from perfcast.errors import InvalidInput
from perfcast.predictors.boosting import CrossFitBoosting
from tests.predictors.campaigns import boosting

ROWS = 600
RANDOM = np.random.default_rng(0)
X: NDArray[np.float64] = RANDOM.uniform(-1, 1, (ROWS, 4))
GROUPS = RANDOM.integers(0, 3, ROWS)
Y: NDArray[np.float64] = 0.2 * np.sin(3 * X[:, 0]) * X[:, 1]


def test_conventions() -> None:
    model = boosting(slope=0.1)
    copy = clone(model)
    assert copy is not model and copy.get_params() == model.get_params()
    assert set(model.get_params()) == {
        "folds", "trees", "depth", "learning_rate", "subsample", "columns", "min_rows", "slope",
        "clip", "patience", "threads", "seed",
    }  # fmt: skip
    assert copy.set_params(trees=7, seed=3) is copy
    assert (copy.trees, copy.seed, model.trees) == (7, 3, 15)
    with pytest.raises(ValueError, match="tree"):
        copy.set_params(tree=7)
    with pytest.raises(TypeError):
        CrossFitBoosting(5)  # type: ignore[call-arg]
    with pytest.raises(NotFittedError):
        copy.predict(X)
    with pytest.raises(NotFittedError):
        copy.predict_left_out(X, GROUPS)
    fitted = model.fit(X, Y, groups=GROUPS)
    assert fitted is model and model.n_features_in_ == 4
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


def test_learns() -> None:
    model = boosting(trees=60, slope=0.1, columns=1.0).fit(X, Y, groups=GROUPS)
    assert model.score(X, Y) > 0.9
    left_out = model.predict_left_out(X, GROUPS)
    assert left_out.shape == (ROWS,) and left_out.dtype == np.float64
    assert 1 - np.mean((left_out - Y) ** 2) / Y.var() > 0.8


def test_stops_when_more_trees_do_not_help() -> None:
    """On noise nothing is to be learnt; the other folds grow as many trees as the first."""
    noise = RANDOM.normal(0, 0.1, ROWS)
    model = boosting(trees=200, patience=5).fit(X, noise, groups=GROUPS)
    assert 1 <= model.rounds_ < 50
    assert {m.num_boosted_rounds() for m in model.models_} == {model.rounds_}
    assert boosting(trees=20).fit(X, noise, groups=GROUPS).rounds_ == 20


def test_patience_only_chooses_the_number_of_trees() -> None:
    patient = boosting(patience=10).fit(X, Y, groups=GROUPS)
    same = boosting(trees=patient.rounds_).fit(X, Y, groups=GROUPS)
    assert np.array_equal(patient.predict(X), same.predict(X))


def test_nothing_to_watch() -> None:
    """One fold leaves nothing out; an empty one cannot tell when to stop."""
    assert boosting(folds=1, patience=1).fit(X, Y, groups=np.zeros(ROWS, int)).rounds_ == 15
    assert boosting(folds=3, patience=1).fit(X, Y, groups=GROUPS // 2 + 1).rounds_ == 15


def test_lists_will_do() -> None:
    arrays = boosting().fit(X, Y, groups=GROUPS)
    lists = boosting().fit(X.tolist(), Y.tolist(), groups=GROUPS.tolist())
    assert np.array_equal(lists.predict(X.tolist()), arrays.predict(X))
    left_out = lists.predict_left_out(X.tolist(), GROUPS.tolist())
    assert np.array_equal(left_out, arrays.predict_left_out(X, GROUPS))


def test_the_seed_decides_and_nothing_else() -> None:
    first = boosting(seed=5).fit(X, Y, groups=GROUPS).predict(X)
    np.random.seed(1)  # the very state that must not matter
    np.random.random(10)
    assert np.array_equal(boosting(seed=5).fit(X, Y, groups=GROUPS).predict(X), first)
    assert np.array_equal(boosting(seed=5, threads=2).fit(X, Y, groups=GROUPS).predict(X), first)
    assert not np.array_equal(boosting(seed=6).fit(X, Y, groups=GROUPS).predict(X), first)


def test_answers_do_not_depend_on_their_neighbours() -> None:
    model = boosting().fit(X, Y, groups=GROUPS)
    whole, left_out = model.predict(X), model.predict_left_out(X, GROUPS)
    assert np.array_equal(model.predict(X[17:18]), whole[17:18])
    assert np.array_equal(model.predict_left_out(X[17:20], GROUPS[17:20]), left_out[17:20])


@pytest.mark.parametrize("fold", range(3))
def test_a_fold_does_not_see_its_own_shift(fold: int) -> None:
    """One fold is off by 0.25, and a feature says which rows are its own."""
    own = np.equal(GROUPS, fold)
    told = np.column_stack([X, own])
    model = boosting(slope=0.1, columns=1.0).fit(told, np.where(own, 0.25, 0.0), groups=GROUPS)
    left_out = model.predict_left_out(told, GROUPS)
    assert np.abs(left_out[own]).max() < 1e-6, "its model never saw a shift"
    assert np.abs(left_out[~own]).max() < 0.02, "the others know that it is not theirs"
    mixed = model.predict(told)[own]
    assert mixed == pytest.approx(0.25 * 2 / 3, abs=0.02), "two models of three saw it"


def test_the_mean_of_the_models() -> None:
    model = boosting().fit(X, Y, groups=GROUPS)
    each = [model.predict_left_out(X, np.full(ROWS, fold)) for fold in range(3)]
    assert model.predict(X) == pytest.approx(np.mean(each, axis=0), abs=1e-7)


def test_wild_rows_do_not_steer() -> None:
    wild = Y.copy()
    wild[::50] = 1e6
    quiet = boosting(clip=0.3, trees=40).fit(X, wild, groups=GROUPS).predict(X)
    assert np.median(np.abs(quiet - Y)) < 0.03
    assert np.abs(quiet).max() < 0.31
    clipped = np.clip(wild, -0.3, 0.3)
    same = boosting(clip=10.0, trees=40).fit(X, clipped, groups=GROUPS).predict(X)
    assert np.array_equal(quiet, same)


def test_missing_features_are_fine() -> None:
    holed = np.where(np.random.default_rng(3).random(X.shape) < 0.2, np.nan, X)
    model = boosting().fit(holed, Y, groups=GROUPS)
    assert np.isfinite(model.predict(holed)).all()


def test_a_single_fold_learns_from_everything() -> None:
    groups = np.zeros(ROWS, dtype=int)
    model = boosting(folds=1, trees=60, slope=0.1).fit(X, Y, groups=groups)
    assert model.score(X, Y) > 0.9


def test_progress() -> None:
    steps: list[tuple[int, int]] = []
    boosting().fit(X, Y, groups=GROUPS, progress=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("groups", [GROUPS + 1, GROUPS - 1, GROUPS * 1.0, GROUPS.astype(str)])
def test_groups_that_are_no_folds(groups: NDArray[Any]) -> None:
    with pytest.raises(InvalidInput, match="groups: must be whole numbers from 0 to 2"):
        boosting().fit(X, Y, groups=groups)
    model = boosting().fit(X, Y, groups=GROUPS)
    with pytest.raises(InvalidInput, match="groups"):
        model.predict_left_out(X, groups)
