"""Evidently's statistics of a comparison, and its HTML page.

The only module that imports Evidently, private parts included; pyproject.toml pins the version that has them.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulator.production.monitors.calibration import METHODS, Calibration, Floats
from simulator.production.monitors.columns import CATEGORICAL, Table
from simulator.system.startup import importing

_RANK = "rank by the domain classifier"
#: how far the means of a column are apart: of ranks, what the ROC AUC says
_APART = "distance of means"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Descriptors of the images that are compared, the columns that are finite, and their limits."""

    reference: Table
    current: Table
    columns: tuple[str, ...]
    calibration: Calibration


def statistics(comparison: Comparison) -> dict[str, float]:
    """Return Evidently's own statistic of each column."""
    # from JSON, for its `dict()` holds NumPy types
    metrics = json.loads(_snapshot(comparison, _column_value()).json())["metrics"]
    return {metric["config"]["column"]: float(metric["value"]) for metric in metrics}


def page(comparison: Comparison) -> str:
    """Return Evidently's own page, with its pictures: self-contained HTML of about 4 MB."""
    with _quiet_import():
        from evidently.metrics import ValueDrift
    return str(_snapshot(comparison, ValueDrift).get_html_str(as_iframe=False))


def mean_rank_apart(reference: Floats, current: Floats) -> float:
    """Return 0.5 + how far the mean of `current` lies above that of `reference`: for ranks in (0, 1), the ROC AUC."""
    snapshot = _one_column(reference, current, _column_value()(column=_RANK, method=_APART))
    return float(json.loads(snapshot.json())["metrics"][0]["value"])


def ranks_page(reference: Floats, current: Floats, threshold: float) -> str:
    """Return Evidently's own page on the ranks that the domain classifier gave: self-contained HTML."""
    with _quiet_import():
        from evidently.metrics import ValueDrift
    metric = ValueDrift(column=_RANK, method="wasserstein", threshold=threshold)
    return str(_one_column(reference, current, metric).get_html_str(as_iframe=False))


def _one_column(reference: Floats, current: Floats, metric: Any) -> Any:
    with _quiet_import():
        import evidently
        import pandas
    definition = evidently.DataDefinition(numerical_columns=[_RANK])
    sides = [
        evidently.Dataset.from_pandas(pandas.DataFrame({_RANK: ranks}), data_definition=definition)
        for ranks in (current, reference)
    ]
    return evidently.Report([metric]).run(*sides)


def _snapshot(comparison: Comparison, metric: Any) -> Any:
    """Run the report with a `metric` a column: an `evidently.Run`."""
    with _quiet_import():
        import evidently
        import pandas
    categorical = [name for name in comparison.columns if name in CATEGORICAL]
    definition = evidently.DataDefinition(
        numerical_columns=[name for name in comparison.columns if name not in CATEGORICAL],
        categorical_columns=categorical,
    )

    def dataset(table: Table) -> Any:
        # a new frame for every run: some of Evidently's metrics add columns to the one they get
        frame = pandas.DataFrame({name: table[name].copy() for name in comparison.columns})
        # integers, not text: Evidently sums over a set, whose order of texts differs from process to process
        frame = frame.astype(dict.fromkeys(categorical, int))
        return evidently.Dataset.from_pandas(frame, data_definition=definition)

    metrics = [
        metric(column=name, method=METHODS[name in CATEGORICAL], threshold=limit)
        for name, limit in comparison.calibration.limits.items()
    ]
    return evidently.Report(metrics).run(
        current_data=dataset(comparison.current), reference_data=dataset(comparison.reference)
    )


@cache
def _column_value() -> Any:
    """Return a metric that computes one number of a column only; a function, as its base classes need Evidently."""
    with _quiet_import():
        from evidently.core.metric_types import ColumnMetric, SingleValueCalculation, SingleValueMetric
        from evidently.legacy.calculations.stattests import get_stattest

    class ColumnValue(ColumnMetric, SingleValueMetric):  # type: ignore[misc]  # Evidently is untyped here
        method: str  # `_APART`, or Evidently's name of a statistic
        threshold: float = 0.0

    class ColumnValueCalculation(SingleValueCalculation[ColumnValue]):  # type: ignore[misc]
        def calculate(self, context: Any, current_data: Any, reference_data: Any) -> Any:
            asked = self.metric
            reference, current = reference_data.column(asked.column), current_data.column(asked.column)
            if asked.method == _APART:
                return self.result(0.5 + float(current.data.mean()) - float(reference.data.mean()))
            test = get_stattest(reference.data, current.data, current.type, asked.method)
            return self.result(float(test(reference.data, current.data, current.type, asked.threshold).drift_score))

        def display_name(self) -> str:
            return f"{self.metric.method} of {self.metric.column}"

    return ColumnValue


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Guard Evidently's first import (about 4 s).

    Evidently 0.7 imports its web service, which causes deprecation warnings that no user can act on, and draws from
    Python's global random generator.
    """
    state = random.getstate()
    with warnings.catch_warnings(), importing():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            yield
        finally:
            random.setstate(state)
