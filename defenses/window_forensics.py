"""Window forensics: look back at all that was trained on, name the periods that were poisoned, and undo them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    ones, have not taught: the newest version that served and was trained before them, or, for the first period, a ridge
    regression on the pixels of the trusted images. In this window it drops the rows that are not believed in a
    suspicious class. For a suspicious period that was trained on before, it asks to purge that period from what is
    replayed, and to roll back to the last version that served before it was trained on; where none did, to retrain at a
    rate that forgets.

    Options: `false_alarm_rate` over all periods and classes of one look; `smallest` rows that a class needs; `peak`
    learning rate of the slanted-triangular schedule that it asks for. `versions_back` and `periods_back` are 12.

    Its threshold is a p-value: of rows of this period against the trusted images, of earlier ones against another
    period. The data have drifted since those, so that an old judge would doubt today's trusted images more, and some
    classes more than others. They are compared with the nearest period that has not been found suspicious, under a
    judge that saw neither, and a class must have risen against it. So a campaign is seen where it begins; poison that
    all periods bear alike is not. It asks to purge a period as long as its rows are there, and once to roll back or
    retrain on its account: its state holds when. A scenario must grant `purge`, `roll-back` and `retrain` for what it
    asks to happen. Attacks that keep true labels are not seen.

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
        looks = sorted(_looks(context), key=lambda look: look.period)
        tests = max(1, len(looks) * context.classes)
        keep, found, least = torch.ones(len(context.window), dtype=torch.bool), dict[int, list[int]](), 1.0
        for look in looks:
            control = _control_of(context, look, [other for other in looks if other.period not in found])
            p_values, doubted = self._p_values(context, look, control)
            least = min(least, float(np.nan_to_num(p_values, nan=1.0).min(initial=1.0)))
            suspicious = np.flatnonzero(p_values <= self.false_alarm_rate / tests).tolist()
            if suspicious:
                found[look.period] = suspicious
            if look.places is not None:
                bad = doubted & torch.isin(look.rows.labels, torch.tensor(suspicious, device=look.rows.labels.device))
                keep[look.places[bad.cpu()]] = False
        evidence = {
            "periods": {str(period): classes for period, classes in found.items()},
            "p_value": min(1.0, least * tests),
        }
        taught = [look.period for look in looks if look.period in found and look.places is None]
        asked: dict[str, int] = dict(context.state.values.get("asked", {}))
        new = [period for period in taught if asked.get(str(period), context.period) == context.period]
        state = State({"asked": asked | {str(period): context.period for period in new}})
        return FilterResult(keep, evidence=evidence, requests=self._requests(context, taught, new), state=state)

    def _p_values(self, context: Context, look: _Look, control: _Look | None) -> tuple[Floats, Tensor]:
        """Return each class's p-value (K,), and which rows are not believed."""
        judge = _judge_of(context, look) if control is None else _judge_of(context, look, control)
        rows = context.trusted if control is None else control.rows
        if judge is not None:
            model = judge.model()
            doubted, beside = disbelieved(model, look.rows), disbelieved(model, rows)
        else:
            doubted, beside = disbelieved_by_others(look.rows, context.trusted, context.classes)
            if control is not None:
                beside, _ = disbelieved_by_others(rows, context.trusted, context.classes)
        found = self._enough(counts_by_label(doubted, look.rows.labels, context.classes))
        usual = self._enough(counts_by_label(beside, rows.labels, context.classes))
        return p_values_apart(found, usual, least=-np.inf if control is None else 0.0), doubted

    def _enough(self, counts: Counts) -> Counts:
        return np.where(counts[:, 1:] >= self.smallest, counts, 0)

    def _requests(self, context: Context, taught: list[int], new: list[int]) -> tuple[Request, ...]:
        """Ask to purge all suspicious periods that were `taught`, and to undo what the `new` ones among them did."""
        if not taught:
            return ()
        why = f"rows of period {', '.join(map(str, taught))} have labels that no version before them believes"
        purge, lineage = Purge(why, periods=tuple(taught)), context.history.lineage()
        if not new or not lineage or not _saw(context, lineage[0], new[0]):
            return (purge,)
        before = [one for one in lineage[1:] if one.served and not _saw(context, one, new[0])]
        if before:
            return purge, RollBack(before[0].ordinal, why)
        return purge, Retrain(why, {"schedule": {"use": "slanted-triangular", "peak": self.peak}})


@final
@dataclass(frozen=True, slots=True)
class _Look:
    """Rows of a period, and their places in the window; None: they were trained on before, and these are archived."""

    period: int
    rows: Rows
    places: Tensor | None = None


def _looks(context: Context) -> Iterator[_Look]:
    """Yield what this window brings, by period, and what is at hand of the periods that were trained on."""
    window = context.window
    assert window is not None
    fresh = torch.ones(len(window), dtype=torch.bool) if window.fresh is None else window.fresh.cpu()
    arrived = _periods(context)
    for period in arrived[fresh].unique().tolist():
        places = (fresh & (arrived == period)).nonzero()[:, 0]
        yield _Look(period, window.take(places), places)
    for batch in context.history.batches:
        rows = None if batch.load is None else batch.rows()
        if rows is not None and rows.fresh is not None:
            rows = rows.take(~rows.fresh)  # with late labels the latest ones are still waiting, or in this window
        if rows is not None and len(rows):
            yield _Look(batch.period, rows)


def _periods(context: Context) -> Tensor:
    """Return the period in which each row of the window arrived, int64 (N,)."""
    assert context.window is not None
    known = context.window.periods
    return torch.full((len(context.window),), context.period) if known is None else known.cpu()


def _saw(context: Context, version: PastVersion, period: int) -> bool:
    """Return whether a version may have been trained on rows of `period`, or on later ones.

    Labels arrive late by as many periods as lie between the latest rows that are here and this period; the base's do
    not.
    """
    latest = max([*_periods(context).unique().tolist(), *(batch.period for batch in context.history.batches)])
    return version.period >= (period + context.period - latest if period else 0)


def _judge_of(context: Context, *looks: _Look) -> PastVersion | None:
    """Return the newest version at hand that served and saw none of these rows, nor later ones."""
    first = min(look.period for look in looks)
    able = [one for one in context.history.versions if one.load is not None and one.served]
    return next((one for one in reversed(able) if not _saw(context, one, first)), None)


def _control_of(context: Context, look: _Look, others: Sequence[_Look]) -> _Look | None:
    """Return the period that a look is compared with; None: with the trusted images.

    The nearest, and of two alike the earlier, of those that have a judge in common with it, if there are such.
    """
    if look.period == context.period:  # which is what trusted images are of
        return None

    def order(other: _Look) -> tuple[bool, int, int]:
        return _judge_of(context, look, other) is None, abs(other.period - look.period), other.period

    return min((other for other in others if other.period != look.period), key=order, default=None)
