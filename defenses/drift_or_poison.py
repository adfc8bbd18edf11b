"""Drift or poison: drift makes a model doubt the labels of most classes, poison those of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
import torch
from annotated_types import Ge, Interval
from torch import Tensor

from defenses.base import Context, DoesNotApply, Filter, FilterResult, PastVersion, Rows, Size, Threshold
from defenses.beliefs import counts_by_label, disbelieved, disbelieved_by_others, p_value_of_all, p_values_apart


@final
@dataclass(frozen=True, kw_only=True)
class DriftOrPoison(Filter):
    """Drops rows whose label an earlier version does not believe, in a class where such rows gather.

    Ours; the idea that changed labels disagree with a model that was not trained on them is that of confident learning
    (Northcutt, Jiang, Chuang: Journal of Artificial Intelligence Research 2021). Here the judge is the oldest version
    within `versions_back` that served, and the control are the trusted images, which drift as the window does. Only
    rows that arrived after the judge was trained, or were never trained on, are judged: others are replayed ones that
    may have taught it, and stay. Before there is a version, the judge is a ridge regression on the pixels of the
    trusted images, and judges all.

    Options: `false_alarm_rate` of one look, over all classes together; `smallest` rows that a class needs, in the
    window and among the trusted images.

    Its threshold is a p-value against the trusted images. A class is suspicious when disbelief rises there above that
    of the others by more than chance (Fisher's exact test against the trusted images, at the odds ratio that is the
    others' median; Bonferroni). `kind` in the evidence is `poison` with a suspicious class, `drift` where all others
    rose together, `both` or `none`. Attacks that keep labels are not seen, nor poison spread over all labels. How much
    it takes depends on the trusted images of the class: with 46 of them, and a judge that doubts a fifth of that class,
    5 % of 2,000 rows gave p = 0.006 and 10 % gave 0.000005 (Fashion-MNIST, one model, 10 classes). Costs a pass for
    each row and each trusted image.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, History, PastVersion, Rows
    >>> head = nn.Linear(4, 2, bias=False)
    >>> head.weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    >>> model = nn.Sequential(nn.Flatten(), head)
    >>> images, labels = torch.zeros(80, 1, 2, 2), torch.arange(80) % 2
    >>> images[labels == 0, :, 0, 0], images[labels == 1, :, 0, 1] = 1.0, 1.0  # the model is right
    >>> wrong = labels.clone()
    >>> wrong[1:24:2] = 0  # twelve rows of class 1 are labelled 0
    >>> context = Context(
    ...     model=model, feature_layer="1", classes=2, device=torch.device("cpu"), trusted=Rows(images, labels),
    ...     generator=torch.Generator().manual_seed(0), window=Rows(images, wrong), subject="champion", period=2,
    ...     history=History((PastVersion(0, None, 0, served=(0, 1), load=lambda: model),), champion=0),
    ... )
    >>> found = DriftOrPoison().filter(context)
    >>> (~found.keep).nonzero()[:, 0].tolist() == list(range(1, 24, 2)), found.evidence["kind"]
    (True, 'poison')
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("false_alarm_rate", of="p_value", flags="below")
    versions_back = 5

    false_alarm_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    smallest: Annotated[int, Ge(1)] = 10

    def filter(self, context: Context) -> FilterResult:
        """Return which rows to keep, and by class the p-value; scores: 1 for a row that is not believed, else 0."""
        window = context.window
        if window is None or len(context.trusted) < 2 * context.classes:
            raise DoesNotApply(f"drift-or-poison needs a window and at least {2 * context.classes} trusted images")
        judge, doubted, control = self._doubts(context)
        judged = _unseen(window, judge)
        doubted = doubted & judged
        counts = [
            counts_by_label(found, labels, context.classes)
            for found, labels in ((doubted[judged], window.labels[judged]), (control, context.trusted.labels))
        ]
        enough = (counts[0][:, 1] >= self.smallest) & (counts[1][:, 1] >= self.smallest)
        found, usual = (np.where(enough[:, None], one, 0) for one in counts)
        p_values = p_values_apart(found, usual)
        suspicious = np.flatnonzero(p_values <= self.false_alarm_rate / max(1, int(enough.sum())))
        drifted = p_value_of_all(found, usual) <= self.false_alarm_rate
        drop = doubted & torch.isin(window.labels, torch.tensor(suspicious, device=window.labels.device))
        evidence: dict[str, Any] = {
            "kind": {(True, True): "both", (True, False): "poison", (False, True): "drift"}.get(
                (bool(len(suspicious)), drifted), "none"
            ),
            "classes": suspicious.tolist(),
            "p_value": min(1.0, float(np.nan_to_num(p_values, nan=1.0).min(initial=1.0)) * max(1, int(enough.sum()))),
            "p_values": [None if np.isnan(one) else float(f"{one:.3g}") for one in p_values],
            "judge": "trusted images" if judge is None else f"version {judge.ordinal}",
        }
        return FilterResult(~drop, scores=doubted.float(), evidence=evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of one look at every row and every trusted image."""
        return size.rows + size.trusted

    def _doubts(self, context: Context) -> tuple[PastVersion | None, Tensor, Tensor]:
        """Return who judges, and which rows of the window and which trusted images it does not believe."""
        assert context.window is not None
        able = [version for version in context.history.versions if version.load is not None and version.served]
        if not able:
            return None, *disbelieved_by_others(context.window, context.trusted, context.classes)
        model = able[0].model()
        return able[0], disbelieved(model, context.window), disbelieved(model, context.trusted)


def _unseen(window: Rows, judge: PastVersion | None) -> Tensor:
    """Return bool (N,): which rows cannot have taught the judge, as far as the platform knows when they arrived."""
    every = torch.ones(len(window), dtype=torch.bool, device=window.labels.device)
    if judge is None or window.fresh is None:
        return every
    return window.fresh if window.periods is None else window.fresh | (window.periods > judge.period)
