"""Trigger difference: an update that teaches a backdoor makes one class's trigger smaller than it was before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval

from defenses.base import Context, DoesNotApply, Inspector, InspectorResult, Size, State, Threshold
from defenses.reversed_triggers import Search
from defenses.unusual import Floats, p_values_low

#: how many earlier updates are remembered
_KEPT = 20
#: falls of less than this share are within what the search differs by from start to start
_LEAST_SPREAD = 0.05


@final
@dataclass(frozen=True, kw_only=True)
class TriggerDifference(Inspector):
    """Reverses each class's trigger in the candidate and in the champion, and flags a class whose trigger shrank.

    Ours; triggers are reversed as in `neural-cleanse` (Wang et al., IEEE S&P 2019), from the same starts on the same
    images in both versions. What a class's trigger takes by nature differs between classes by a factor of three and
    more, and stays where a version is fine-tuned: it cancels out of the logarithm of the ratio candidate / champion.
    The lowest of these ratios is tested against those of the other classes (Grubbs' one-sided test), and against the
    spread that they had in earlier updates which were not flagged: the state holds the last 20.

    Options: `false_positive_rate` of a look; `restarts`, `steps`, `patience`, `batch`, `rate`, `success` of the search
    for triggers, as in `neural-cleanse`.

    Its threshold is a probability, beside the other classes and what earlier versions moved.

    It speaks of candidates and challengers and needs the champion's weights and trusted images. A backdoor that the
    champion has already is not seen: start from a base that another inspector looked at. Skipped with fewer than four
    classes. Costs at most 96,000 passes for ten classes: 2.5 s of the processor on Fashion-MNIST, 3.7 s on CIFAR-10.

    Measured on `compact-cnn`, three clean champions a data set, one update on fresh and replayed rows, of which 3 %
    were poison (13 % on CIFAR-10; white patch, 3x3, 2x2 on digits), with and without a drift of 10 degrees (CIFAR-10
    without); no option was chosen on them. Flagged, with the right class, were 6 of 6 poisoned updates on Fashion-MNIST
    (attack success 0.24 to 0.74), 3 of 3 on CIFAR-10 (0.89 to 0.92) and 2 of 6 on digits, and none of 15 clean ones;
    `neural-cleanse` beside it: 2 of 6, 3 of 3, 1 of 6 and 1. With two clean updates remembered, scores of those on
    Fashion-MNIST rise to twice as much. Three updates on CIFAR-10 that hardly taught the backdoor (0.16 to 0.20)
    passed.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, History, PastVersion, Rows
    >>> def model(decisive):
    ...     head = nn.Linear(16, 5)
    ...     with torch.no_grad():
    ...         _ = head.bias.zero_()
    ...         _ = head.weight.copy_(torch.eye(5, 16))  # class n is the brightness of pixel n
    ...         head.weight[3, 15] = decisive  # and pixel 15 says class 3
    ...     return nn.Sequential(nn.Flatten(), head)
    >>> images, labels = torch.zeros(20, 1, 4, 4), torch.arange(20) % 5
    >>> images.view(20, 16)[torch.arange(20), labels] = 1.0
    >>> def look(before, after):
    ...     champion = PastVersion(0, None, 0, served=(0,), load=lambda: model(before))
    ...     return TriggerDifference().inspect(Context(
    ...         model=model(after), feature_layer="1", classes=5, device=torch.device("cpu"),
    ...         trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ...         history=History((champion,), champion=0)))
    >>> look(0.0, 20.0).evidence["suspect"], look(20.0, 20.0).evidence["suspect"]
    (3, None)
    """

    needs_trusted = True
    calibration = "earlier versions"
    threshold_option = Threshold("false_positive_rate", of="p_value", flags="below")
    versions_back = 6
    remembers = True

    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    restarts: Annotated[int, Ge(1)] = 4
    steps: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] = 30
    batch: Annotated[int, Ge(1)] = 8
    rate: Annotated[float, Gt(0)] = 0.2
    success: Annotated[float, Interval(gt=0, le=1)] = 0.95

    def inspect(self, context: Context) -> InspectorResult:
        """Return the verdict; the score is -log10 of the test's probability."""
        if context.classes < 4 or not len(context.trusted):
            raise DoesNotApply("trigger-difference needs trusted images and at least four classes")
        lineage = context.history.lineage()
        if context.subject == "champion" or not lineage or lineage[0].load is None:
            raise DoesNotApply("trigger-difference compares a candidate with the champion, and there is none at hand")
        seed, search = int(torch.randint(2**31, (1,), generator=context.generator)), Search.of(self)
        after, before = (
            search.run(model, context.trusted.images, context.classes, torch.Generator().manual_seed(seed))
            for model in (context.model, lineage[0].model())
        )
        ratios = np.log(after.pixels() / before.pixels())
        earlier = _earlier(context.state.values, context.classes)
        chances = p_values_low(ratios, earlier, _LEAST_SPREAD)
        suspect, chance = int(chances.argmin()), max(float(chances.min()), 1e-300)
        score, threshold = -math.log10(chance), -math.log10(self.false_positive_rate)
        flagged = score > threshold
        evidence: dict[str, Any] = {
            "suspect": suspect if flagged else None,
            "p_value": chance,
            "compared_with": f"{len(earlier)} earlier updates",
            "mask_norms": [round(float(norm), 4) for norm in after.pixels()],
            "mask_norms_before": [round(float(norm), 4) for norm in before.pixels()],
            "passes": after.passes + before.passes,
        }
        kept = [*earlier.tolist(), ratios.tolist()][-_KEPT:]
        return InspectorResult(
            flagged,
            score,
            threshold,
            evidence,
            class_scores=torch.as_tensor(-ratios, dtype=torch.float32),
            triggers=after.images,
            state=None if flagged or context.subject != "candidate" else State({"ratios": kept}),
        )

    def passes(self, size: Size) -> int:
        """Return the passes of the search in both versions."""
        return 2 * Search.of(self).passes(size.classes)


def _earlier(values: Mapping[str, Any], classes: int) -> Floats:
    """Return the ratios (M, classes) of the earlier updates; none where there were other classes."""
    rows = [row for row in values.get("ratios", ()) if len(row) == classes]
    return np.array(rows, dtype=np.float64).reshape(-1, classes)
