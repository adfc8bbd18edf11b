"""Window forensics: look back at all that was trained on, name the periods that were poisoned, and undo them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import torch
from annotated_types import Ge, Interval
from torch import Tensor

from defenses.base import (
    Context,
    DoesNotApply,
    Filter,
    FilterResult,
    PastVersion,
    Purge,
    Request,
    Retrain,
    RollBack,
    Rows,
    State,
    Threshold,
)
from defenses.beliefs import Counts, Floats, counts_by_label, disbelieved, disbelieved_by_others, p_values_apart


@final
@dataclass(frozen=True, kw_only=True)
class WindowForensics(Filter):
    """Tests the rows of every period at hand against a version older than they are; drops, purges and rolls back.

    Ours. Each period is judged as `DriftOrPoison` judges a window, but with a judge that those rows, and all later
    ones, have not taught: the newest version trained before they arrived, or, for the first period, a ridge regression
    on the pixels of the trusted images. In this window it drops the rows that are not believed in a suspicious class.
    For an earlier suspicious period it asks to purge that period from what is replayed, and to roll back to the last
    version that served before it; where none did, to retrain at a rate that forgets.

    Options: `false_alarm_rate` over all periods and classes of one look; `smallest` rows that a class needs; `peak`
    learning rate of the slanted-triangular schedule that it asks for. `versions_back` and `periods_back` are 12.

    Its threshold is a p-value against the trusted images. It asks once for each period: its state holds those it has
    named. A scenario must grant `purge`, `roll-back` and `retrain` for what it asks to happen. Attacks that keep true
    labels are not seen.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, History, PastBatch, PastVersion, Rows
    >>> head = nn.Linear(4, 2, bias=False)
    >>> head.weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    >>> model = nn.Sequential(nn.Flatten(), head)
    >>> images, labels = torch.zeros(80, 1, 2, 2), torch.arange(80) % 2
    >>> images[labels == 0, :, 0, 0], images[labels == 1, :, 0, 1] = 1.0, 1.0  # the model is right
    >>> wrong = labels.clone()
    >>> wrong[1:32:2] = 0  # in period 1, sixteen rows of class 1 were labelled 0
    >>> versions = tuple(PastVersion(i, i - 1 if i else None, i, served=(i,), load=lambda: model) for i in range(2))
    >>> context = Context(
    ...     model=model, feature_layer="1", classes=2, device=torch.device("cpu"), trusted=Rows(images, labels),
    ...     generator=torch.Generator().manual_seed(0), window=Rows(images, labels), subject="champion", period=2,
    ...     history=History(versions, (PastBatch(1, lambda: Rows(images, wrong)),), champion=1),
    ... )
    >>> found = WindowForensics().filter(context)
    >>> found.evidence["periods"], [type(one).__name__ for one in found.requests], found.requests[1].to
    ({'1': [0]}, ['Purge', 'RollBack'], 0)
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("false_alarm_rate", of="p_value", flags="below")
    versions_back = 12
    periods_back = 12
    remembers = True

    false_alarm_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    smallest: Annotated[int, Ge(1)] = 10
    peak: Annotated[float, Interval(gt=0, le=10)] = 0.3

    def filter(self, context: Context) -> FilterResult:
        """Return which rows of this window to keep, with the suspicious classes by period as evidence."""
        if context.window is None or len(context.trusted) < 2 * context.classes:
            raise DoesNotApply(f"window-forensics needs a window and at least {2 * context.classes} trusted images")
        periods = list(self._periods(context))
        tests = max(1, len(periods) * context.classes)
        keep, found, least = torch.ones(len(context.window), dtype=torch.bool), dict[int, list[int]](), 1.0
        for period, rows, places in periods:
            p_values, doubted = self._p_values(context, period, rows)
            least = min(least, float(np.nan_to_num(p_values, nan=1.0).min(initial=1.0)))
            suspicious = np.flatnonzero(p_values <= self.false_alarm_rate / tests).tolist()
            if suspicious:
                found[period] = suspicious
            if places is not None:
                bad = doubted & torch.isin(rows.labels, torch.tensor(suspicious, device=rows.labels.device))
                keep[places[bad.cpu()]] = False
        named = set(context.state.values.get("named", []))
        past = sorted(period for period in found if period not in named and period != context.period)
        evidence = {
            "periods": {str(period): classes for period, classes in sorted(found.items())},
            "p_value": min(1.0, least * tests),
        }
        state = State({"named": sorted(named | set(past))})
        return FilterResult(keep, evidence=evidence, requests=self._requests(context, past), state=state)

    def _periods(self, context: Context) -> Iterator[tuple[int, Rows, Tensor | None]]:
        """Yield period, rows, and where these are in the window (None: an earlier one's archive)."""
        window = context.window
        assert window is not None
        fresh = torch.ones(len(window), dtype=torch.bool) if window.fresh is None else window.fresh.cpu()
        arrived = torch.full((len(window),), context.period) if window.periods is None else window.periods.cpu()
        for period in arrived[fresh].unique().tolist():
            places = (fresh & (arrived == period)).nonzero()[:, 0]
            yield period, window.take(places), places
        yield from ((batch.period, batch.rows(), None) for batch in context.history.batches if batch.load is not None)

    def _p_values(self, context: Context, period: int, rows: Rows) -> tuple[Floats, Tensor]:
        judge = _judge_of(context, period)
        if judge is None:
            doubted, control = disbelieved_by_others(rows, context.trusted, context.classes)
        else:
            model = judge.model()
            doubted, control = disbelieved(model, rows), disbelieved(model, context.trusted)
        known = [self._enough(counts_by_label(doubted, rows.labels, context.classes))]
        known.append(self._enough(counts_by_label(control, context.trusted.labels, context.classes)))
        return p_values_apart(*known), doubted

    def _enough(self, counts: Counts) -> Counts:
        return np.where(counts[:, 1:] >= self.smallest, counts, 0)

    def _requests(self, context: Context, periods: list[int]) -> tuple[Request, ...]:
        if not periods:
            return ()
        why = f"rows of period {', '.join(map(str, periods))} have labels that no version before them believes"
        purge = Purge(why, periods=tuple(periods))
        before = [
            version
            for version in context.history.lineage()
            if version.period < periods[0] and version.served and version.ordinal != context.history.champion
        ]
        if before:
            return purge, RollBack(before[0].ordinal, why)
        return purge, Retrain(why, {"schedule": {"use": "slanted-triangular", "peak": self.peak}})


def _judge_of(context: Context, period: int) -> PastVersion | None:
    """Return the newest version at hand that was trained before `period`."""
    able = [one for one in context.history.versions if one.load is not None and one.period < period]
    return able[-1] if able else None
