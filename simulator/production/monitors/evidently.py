"""Drift as Evidently measures it, with limits calibrated so that undrifted data raise alarms at a stated rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from simulator.errors import EbbdoorError
from simulator.production.monitors.base import Monitor, MonitorView
from simulator.production.monitors.calibration import METHODS, Calibration, calibrate
from simulator.production.monitors.columns import CATEGORICAL, COLUMNS, describe, finite
from simulator.production.monitors.evidently_report import Comparison, page, statistics
from simulator.production.monitors.inputs import Level, Reference, check_draws, require_rows
from simulator.records import Signal


@final
@dataclass(kw_only=True)
class Evidently(Monitor):
    """An `evidently.Report` with one drift metric a column, on pixel descriptors and the champion's outputs.

    Each metric is one call of Evidently's own statistic: what its `ValueDrift` gives, without the pictures that
    `ValueDrift` draws each time it is run (nine tenths of its time). `html` draws them.

    Numerical columns: Evidently's `wasserstein` (first Wasserstein distance / standard deviation of the reference);
    the predicted label: `jensenshannon` (distance, base e). Both are named, because Evidently's default test, and with
    it the direction of its score, changes with the reference's size; both are distances, higher = more drift.

    Each column's limit comes from `resamples` bootstrap resamples of the reference images, described by the current
    champion (`calibration.calibrate`), such that undrifted batches raise an alarm at the rate `level` over all columns
    together. It is handed to Evidently as the column's threshold. `score` is the largest statistic / limit, `threshold`
    1, `p_value` the share of undrifted resamples with such a score. `detail` holds statistic and limit by column.

    `level` is the average false-alarm rate over draws of reference and batch. For one given reference it differs: some
    references raise false alarms often, most hardly ever.

    A column that is not finite (a champion that diverged) is left out and named in `detail`; without any column left
    the signal has no score and no alarm.

    >>> Evidently(columns=("brightness", "entropy"), level=0.01, resamples=499).columns
    ('brightness', 'entropy')
    >>> Evidently(level=0.001)  # with the usual 199 resamples
    Traceback (most recent call last):
    ValueError: expected resamples to be at least 999 at level 0.001, got 199; raise one of the two
    """

    columns: tuple[str, ...] = COLUMNS
    level: Level = 0.05
    resamples: int = 199
    reference: Reference = "fixed"

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = self.columns
        if not columns or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
            raise ValueError(
                f"expected columns to be some of {', '.join(COLUMNS)}, each once, got {list(columns)}; correct the list"
            )
        check_draws(self.level, self.resamples, "resamples")

    def observe(self, view: MonitorView) -> Signal:
        comparison = self._compare(view)
        common = {
            "rows": [len(view.reference), len(view.current)],
            "reference": self.reference,
            "left_out": [name for name in self.columns if name not in comparison.columns],
        }
        if not comparison.columns:
            return Signal(method="evidently", detail={**common, "reason": "no column is finite"})
        values = statistics(comparison)
        calibration = comparison.calibration
        score = calibration.score(values)
        by_column = {
            name: {"statistic": values[name], "limit": limit, "method": METHODS[name in CATEGORICAL]}
            for name, limit in calibration.limits.items()
        }
        return Signal(
            method="evidently",
            score=score,
            threshold=1.0,
            p_value=calibration.p_value(score),
            alarm=score > 1.0,
            detail={**common, "level": self.level, "resamples": self.resamples, "columns": by_column},
        )

    def html(self, view: MonitorView) -> str:
        """Return Evidently's own report on `view`: one self-contained page of about 4 MB, same limits.

        Raises `EbbdoorError` when no column is finite.
        """
        comparison = self._compare(view)
        if not comparison.columns:
            raise EbbdoorError("expected a column of the drift report to be finite, got none; look at the champion")
        return page(comparison)

    def _compare(self, view: MonitorView) -> Comparison:
        require_rows(view)
        reference, current = (
            describe(view.model, view.feature_layer, images, self.columns) for images in (view.reference, view.current)
        )
        columns = finite(reference, current)
        seed = int(torch.randint(2**62, (), generator=view.generator.clone_state()))
        rng = np.random.default_rng(seed)
        calibration = (
            calibrate(reference, columns, len(view.current), self.level, self.resamples, rng)
            if columns
            else Calibration({}, np.empty(0))
        )
        return Comparison(reference, current, columns, calibration)
