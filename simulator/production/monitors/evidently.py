"""Drift as Evidently measures it, with limits calibrated so that undrifted data raise alarms at a stated rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np

from simulator.errors import EbbdoorError
from simulator.production.monitors.base import Monitor, MonitorView
from simulator.production.monitors.calibration import METHODS, Calibration, calibrate
from simulator.production.monitors.columns import CATEGORICAL, COLUMNS, describe, finite
from simulator.production.monitors.domain import DECIMALS, Domains, Seen, told_apart
from simulator.production.monitors.evidently_report import Comparison, mean_rank_apart, page, ranks_page, statistics
from simulator.production.monitors.inputs import Level, Reference, check_draws, forward, require_rows, seed_of
from simulator.records import Signal


@final
@dataclass(kw_only=True)
class Evidently(Monitor):
    """Drift in an `evidently.Report`: by a domain classifier on the champion's features, or column by column.

    `method: classifier` (the default): a ridge regression tells the batch's features from the reference's. `score` is
    its ROC AUC on rows that it was not trained on: 0.5 without drift, 1 when every row is told apart; it grows with the
    drift. `resamples` random exchanges of the two sides give `threshold` and `p_value` (`domain.told_apart`): undrifted
    batches raise an alarm at the rate `level`. On an alarm `detail` names its `kind`. A batch is thinned so that its
    class shares become the reference's, as the champion's outputs tell them: what still differs is a `covariate` drift;
    if nothing does and the predicted labels differ, `label-prior`; else `unclear`.

    `method: columns`: one drift metric for each of `columns`, pixel descriptors and the champion's outputs. Each is one
    call of Evidently's own statistic: what its `ValueDrift` gives, without the pictures that `ValueDrift` draws each
    time it is run (nine tenths of its time). `html` draws them. Numerical columns: `wasserstein` (first Wasserstein
    distance / standard deviation of the reference); the predicted label: `jensenshannon` (distance, base e). Both are
    named, because Evidently's default test, and with it the direction of its score, changes with the reference's size.
    Each column's limit comes from `resamples` bootstrap resamples of the reference images, described by the current
    champion (`calibration.calibrate`), such that undrifted batches raise an alarm at the rate `level` over all columns
    together. It is handed to Evidently as the column's threshold. `score` is the largest statistic / limit, `threshold`
    1, `p_value` the share of undrifted resamples with such a score. `detail` holds statistic and limit by column. The
    score is that of whichever column is furthest, and need not grow with the drift.

    `level` is the average false-alarm rate over draws of reference and batch. For one given reference it differs: some
    references raise false alarms often, most hardly ever.

    What is not finite (a champion that diverged) is left out and named in `detail`; without anything left the signal
    has no score and no alarm.

    >>> Evidently(method="columns", columns=("brightness", "entropy"), level=0.01, resamples=499).columns
    ('brightness', 'entropy')
    >>> Evidently(level=0.001)  # with the usual 199 resamples
    Traceback (most recent call last):
    ValueError: expected resamples to be at least 999 at level 0.001, got 199; raise one of the two
    """

    method: Literal["classifier", "columns"] = "classifier"
    columns: tuple[str, ...] = COLUMNS
    level: Level = 0.05
    resamples: int = 199
    reference: Reference = "fixed"
    least_images: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = self.columns
        if not columns or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
            raise ValueError(
                f"expected columns to be some of {', '.join(COLUMNS)}, each once, got {list(columns)}; correct the list"
            )
        if self.method == "classifier" and tuple(columns) != COLUMNS:
            raise ValueError(
                f"expected columns only with method: columns, got {list(columns)} with method: classifier; "
                "add method: columns, or leave columns out"
            )
        check_draws(self.level, self.resamples, "resamples")

    def observe(self, view: MonitorView) -> Signal:
        return self._by_classifier(view) if self.method == "classifier" else self._by_columns(view)

    def html(self, view: MonitorView) -> str:
        """Return Evidently's own report on `view`: one self-contained page of about 4 MB, same limits.

        Raises `EbbdoorError` when nothing is finite.
        """
        if self.method == "classifier":
            compared = self._domains(view)
            if compared is not None:
                apart = compared.apart
                return ranks_page(apart.reference, apart.current, apart.threshold)
        else:
            comparison = self._compare(view)
            if comparison.columns:
                return page(comparison)
        raise EbbdoorError("expected a column of the drift report to be finite, got none; look at the champion")

    def _by_classifier(self, view: MonitorView) -> Signal:
        compared = self._domains(view)
        detail: dict[str, Any] = {
            "rows": [len(view.reference), len(view.current)],
            "reference": self.reference,
            "compared": "features",
        }
        if compared is None:
            return Signal(method="evidently", detail={**detail, "reason": "the champion's features are not finite"})
        apart = compared.apart
        alarm = apart.p_value <= self.level
        detail |= {"level": self.level, "resamples": self.resamples}
        return Signal(
            method="evidently",
            score=round(mean_rank_apart(apart.reference, apart.current), DECIMALS),
            threshold=apart.threshold,
            p_value=apart.p_value,
            alarm=alarm,
            detail={**detail, **compared.kind(self.level, self.resamples)} if alarm else detail,
        )

    def _domains(self, view: MonitorView) -> Domains | None:
        """Return both sides as the champion sees them, compared; None when they are not finite."""
        require_rows(view, self.reference)
        sides = [forward(view.model, view.feature_layer, images) for images in (view.reference, view.current)]
        if not all(part.isfinite().all() for side in sides for part in side):
            return None
        reference, current = (
            Seen(features.double().cpu().numpy(), logits.double().softmax(1).cpu().numpy())
            for logits, features in sides
        )
        rng = np.random.default_rng(seed_of(view))
        apart = told_apart(reference.features, current.features, self.level, self.resamples, rng)
        return Domains(reference, current, apart, rng)

    def _by_columns(self, view: MonitorView) -> Signal:
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

    def _compare(self, view: MonitorView) -> Comparison:
        require_rows(view, self.reference)
        reference, current = (
            describe(view.model, view.feature_layer, images, self.columns) for images in (view.reference, view.current)
        )
        columns = finite(reference, current)
        rng = np.random.default_rng(seed_of(view))
        calibration = (
            calibrate(reference, columns, len(view.current), self.level, self.resamples, rng)
            if columns
            else Calibration({}, np.empty(0))
        )
        return Comparison(reference, current, columns, calibration)
