"""Statistics against hand-worked values and SciPy; the alarm rate they are calibrated to, on real images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from torchvision.transforms.functional import InterpolationMode, rotate

from simulator.production.monitors.calibration import (
    FLOOR,
    Calibration,
    calibrate,
    jensen_shannon,
    wasserstein,
)
from simulator.production.monitors.columns import CATEGORICAL, COLUMNS, Table, describe


@pytest.fixture(scope="module")
def table(model, images) -> Table:
    return describe(model, "4", images)


def statistics(reference: Table, current: Table, columns: tuple[str, ...]) -> dict[str, float]:
    """Return the statistic of each column between two tables: what Evidently's `ValueDrift` gives for `METHODS`."""
    first = np.repeat([1, 0], [len(reference[columns[0]]), len(current[columns[0]])])[None]
    kinds = {name: jensen_shannon if name in CATEGORICAL else wasserstein for name in columns}
    pooled = {name: np.concatenate([reference[name], current[name]]) for name in columns}
    return {name: float(kind(pooled[name], first, 1 - first)[0]) for name, kind in kinds.items()}


def _rows(table: Table, rows: np.ndarray) -> Table:
    return {name: values[rows] for name, values in table.items()}


def _alarm(reference: Table, current: Table, rng: np.random.Generator) -> bool:
    batch = len(current["brightness"])
    calibration = calibrate(reference, COLUMNS, batch, level=0.05, resamples=199, rng=rng)
    return calibration.score(statistics(reference, current, COLUMNS)) > 1


def test_wasserstein_by_hand():
    # {0, 1} against {1, 3}: |1/2 - 0| over [0, 1], |1 - 1/2| over [1, 3]; the deviation of {0, 1} is 1/2
    distance = wasserstein(np.array([0.0, 1.0, 3.0]), np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
    assert math.isclose(distance[0], 3.0)


def test_wasserstein_counts_rows_and_sorts_values():
    # {2, 2, 0, 0} against {2}: half of the mass moves by 2; the deviation is 1
    distance = wasserstein(np.array([2.0, 0.0]), np.array([[2, 2]]), np.array([[1, 0]]))
    assert distance.tolist() == [1.0]


def test_wasserstein_of_a_constant_reference_divides_by_a_thousandth():
    distance = wasserstein(np.array([0.5, 0.6]), np.array([[4, 0]]), np.array([[0, 2]]))
    assert math.isclose(distance[0], 100.0)


def test_jensen_shannon_by_hand():
    disjoint = jensen_shannon(np.array([1.0, 7.0]), np.array([[3, 0]]), np.array([[0, 5]]))
    assert math.isclose(disjoint[0], math.sqrt(math.log(2)))
    alike = jensen_shannon(np.array([1.0, 7.0]), np.array([[3, 1]]), np.array([[6, 2]]))
    assert alike.tolist() == [0.0]


def test_statistics_are_scipys():
    rng = np.random.default_rng(0)
    first = {"brightness": rng.normal(size=300), "predicted_label": rng.integers(8, size=300).astype(float)}
    second = {"brightness": rng.normal(0.2, size=500), "predicted_label": rng.integers(10, size=500).astype(float)}
    found = statistics(first, second, ("brightness", "predicted_label"))
    expected = stats.wasserstein_distance(first["brightness"], second["brightness"]) / first["brightness"].std()
    assert math.isclose(found["brightness"], expected, rel_tol=1e-9)
    counts = [np.bincount(side["predicted_label"].astype(int), minlength=10) for side in (first, second)]
    assert math.isclose(found["predicted_label"], jensenshannon(*counts), rel_tol=1e-9)


def test_resampled_statistics_are_those_of_the_drawn_rows():
    rng = np.random.default_rng(1)
    values = np.round(rng.normal(size=50), 1)  # with ties
    drawn = [rng.integers(50, size=(7, size)) for size in (50, 120)]
    counts = [np.stack([np.bincount(row, minlength=50) for row in side]) for side in drawn]
    found = wasserstein(values, *counts)
    for row, distance in enumerate(found):
        first, second = values[drawn[0][row]], values[drawn[1][row]]
        assert math.isclose(distance, stats.wasserstein_distance(first, second) / first.std(), rel_tol=1e-9)


@pytest.mark.parametrize(("reference_rows", "batch"), [(400, 800), (300, 100)])
def test_undrifted_images_alarm_at_the_level(table, reference_rows, batch):
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(250):
        rows = rng.permutation(20000)[: reference_rows + batch]
        alarms += _alarm(_rows(table, rows[:reference_rows]), _rows(table, rows[reference_rows:]), rng)
    # nominal 0.05 over six columns at once; a monitor that never rings would be at 0
    assert 0.02 <= alarms / 250 <= 0.1


def test_the_limit_is_on_all_columns_together(table):
    rng = np.random.default_rng(0)
    reference = _rows(table, np.arange(400))
    together = calibrate(reference, COLUMNS, 800, 0.05, 199, rng)
    alone = calibrate(reference, ("contrast",), 800, 0.05, 199, rng)
    assert together.limits["contrast"] > alone.limits["contrast"]
    # ten of two hundred: the share of undrifted resamples at or above the limit, the observed one counted
    assert (together.null >= 1).sum() == 10
    assert together.p_value(1.0) == 11 / 200


@pytest.mark.parametrize("shift", ["brightness", "rotation"])
def test_a_known_shift_is_seen(model, images, table, shift):
    batches = images[10000:14000]
    moved = (batches + 0.1).clamp(0, 1) if shift == "brightness" else rotate(batches, 20, InterpolationMode.BILINEAR)
    drifted = describe(model, "4", moved)
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(20):
        reference, current = rng.permutation(10000)[:500], rng.permutation(4000)[:500]
        alarms += _alarm(_rows(table, reference), _rows(drifted, current), rng)
    assert alarms >= 19


def test_a_smaller_batch_gets_a_wider_limit(table):
    reference = _rows(table, np.arange(400))
    limits = [calibrate(reference, COLUMNS, batch, 0.05, 199, np.random.default_rng(0)).limits for batch in (50, 2000)]
    assert all(limits[0][name] > limits[1][name] for name in COLUMNS)


def test_a_reference_that_does_not_vary_has_the_smallest_limit():
    still = {"confidence": np.ones(100)}
    calibration = calibrate(still, ("confidence",), 50, 0.05, 199, np.random.default_rng(0))
    assert calibration.limits == {"confidence": FLOOR}
    rounding = statistics(still, {"confidence": np.full(50, 1 - 1e-7)}, ("confidence",))
    moved = statistics(still, {"confidence": np.full(50, 0.99)}, ("confidence",))
    assert calibration.score(rounding) < 1 < calibration.score(moved)


def test_same_seed_same_limits(table):
    reference = _rows(table, np.arange(200))
    first, second = (calibrate(reference, COLUMNS, 100, 0.05, 99, np.random.default_rng(3)) for _ in range(2))
    assert first.limits == second.limits
    assert first.null.tolist() == second.null.tolist()


def test_p_value_counts_the_observed_score():
    calibration = Calibration({}, np.array([0.2, 0.5, 0.5, 0.9]))
    assert [calibration.p_value(score) for score in (0.1, 0.5, 1.0)] == [5 / 5, 4 / 5, 1 / 5]
