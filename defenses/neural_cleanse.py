"""Neural Cleanse: the class that a small patch can force is the backdoor's target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval

from defenses.base import Context, DoesNotApply, Inspector, InspectorResult, Size, Threshold
from defenses.clean_reference import clean_reference, reference_passes
from defenses.reversed_triggers import Search
from defenses.unusual import Floats, p_values_low

#: falls of less than this share are within what the search differs by from start to start
_LEAST_SPREAD = 0.05


def anomaly_indices(norms: Floats) -> Floats:
    """Return how far each positive norm (classes,) lies *below* the median, in consistent median absolute deviations.

    Index = (median - norm) / (1.4826 MAD); negative above the median. Both medians are the mean of the two middle
    values for an even count, as in the authors' code (`torch.median` takes the lower one). MAD is taken as at least
    a thousandth of the median's size, so that equal norms give 0.
    """
    middle = np.median(norms)
    deviation = 1.4826 * np.median(np.abs(norms - middle))
    return np.asarray((middle - norms) / max(deviation, 1e-3 * abs(middle), 1e-12))


@final
@dataclass(frozen=True, kw_only=True)
class NeuralCleanse(Inspector):
    """Reverse-engineers a trigger for each class and flags the model when one of them is abnormally small.

    Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao: Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural
    Networks (IEEE S&P 2019). Uses the trusted images. It inspects only: the paper's unlearning is
    `neural-cleanse-unlearning`.

    Options: `rule` that judges; `false_positive_rate` of the outlier test on clean models; `epochs` of training the
    clean reference; `threshold` of the anomaly index; `restarts`: independent starts a class, of which the smallest
    mask counts; `steps` of optimisation; `patience`: steps without a mask smaller by 1 % after which a class is done;
    `batch`: trusted images a step; `rate`: learning rate of Adam; `success`: share of images that a trigger must move
    to its class.

    Each class's mask (1, H, W) and pattern (C, H, W) minimise cross-entropy towards the class plus a weight times the
    mask's L1 norm; the weight grows while the trigger succeeds and falls while it does not. The norm of a class is that
    of the smallest mask that succeeded. A class without success counts with the whole image's area, so it is not
    suspicious. All classes and starts are optimised side by side in one batch; after a quarter of the steps the better
    half of each class's starts goes on, after another quarter the better half of those, and so on down to one.

    Its threshold is a probability, beside the other classes and a reference from trusted images, or the paper's index.

    Rules: `reference` trains the same architecture anew on the trusted images alone and reverses its triggers too. The
    class of the smallest norm is flagged when this norm, or its ratio to that in the reference, is so small beside
    those of the other classes that it has at most the probability `false_positive_rate`, half of it for each, if their
    logarithms are normally distributed (Grubbs' test). By nature some classes take a trigger three times as large as
    others do; that cancels out of the ratio. `own-classes` tests the norms alone, for less than half the passes, and
    misses triggers that natural differences hide. `anomaly-index` is the paper's: over `threshold` consistent median
    absolute deviations below the median.

    Differs from the paper: the reference and its test, since norms spread upwards and the paper's rule flags clean
    models; a budget of steps; restarts, since about one start in six ends in a wide mask beside the small one. Skipped
    with fewer than four classes, where spread says nothing. The paper finds all of six backdoored models, at indices
    above 3.

    Measured on `compact-cnn`, a white patch (3x3, 2x2 on digits) on 5 % of the base window, models that had no part in
    choosing an option, another target each: flagged, with the right class, were 4 of 5 planted models on Fashion-MNIST,
    3 of 3 on CIFAR-10 and 1 of 5 on digits, whose natural triggers are only twice the patch, and none of 13 clean ones;
    of 15 clean updates of other models 1 was. At most 126,500 passes for ten classes and 500 trusted images: 3 s of the
    processor on Fashion-MNIST, 4 s on CIFAR-10, 1 s on digits.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> head = nn.Linear(16, 5)
    >>> with torch.no_grad():
    ...     _ = head.bias.zero_()
    ...     _ = head.weight.copy_(torch.eye(5, 16))  # class n is the brightness of pixel n
    ...     head.weight[3, 15] = 20.0  # and pixel 15 decides for class 3 alone
    >>> images, labels = torch.zeros(20, 1, 4, 4), torch.arange(20) % 5
    >>> images.view(20, 16)[torch.arange(20), labels] = 1.0
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=5, device=torch.device("cpu"),
    ...     trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    ... )
    >>> result = NeuralCleanse().inspect(context)
    >>> result.flagged, result.evidence["suspect"]
    (True, 3)
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("false_positive_rate", of="p_value", flags="below")  # not of `anomaly-index`

    rule: Literal["reference", "own-classes", "anomaly-index"] = "reference"
    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    epochs: Annotated[int, Ge(1)] = 20
    threshold: Annotated[float, Gt(0)] = 2.0
    restarts: Annotated[int, Ge(1)] = 4
    steps: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] = 30
    batch: Annotated[int, Ge(1)] = 8
    rate: Annotated[float, Gt(0)] = 0.2
    success: Annotated[float, Interval(gt=0, le=1)] = 0.95

    def inspect(self, context: Context) -> InspectorResult:
        """Return the verdict; the score is -log10 of the test's probability, or the smallest norm's index."""
        if context.classes < 4 or not len(context.trusted):
            raise DoesNotApply("Neural Cleanse needs trusted images and at least four classes")
        reference = clean_reference(context, self.epochs) if self.rule == "reference" else None
        found = Search.of(self).run(context.model, context.trusted.images, context.classes, context.generator)
        norms, passes = found.pixels(), found.passes
        suspect = int(norms.argmin())
        chance = float(p_values_low(np.log(norms), least_spread=_LEAST_SPREAD)[suspect])
        evidence: dict[str, Any] = {"mask_norms": _rounded(norms), "anomaly_indices": _rounded(anomaly_indices(norms))}
        if reference is not None:
            usual = Search.of(self).run(reference, context.trusted.images, context.classes, context.generator)
            ratios = np.log(norms / usual.pixels())
            beside = float(p_values_low(ratios, least_spread=_LEAST_SPREAD)[suspect])
            chance = min(1.0, 2 * min(chance, beside))  # of two tests either may flag
            passes += usual.passes + reference_passes(len(context.trusted), self.epochs)
            evidence["reference_norms"] = _rounded(usual.pixels())
        score, threshold = math.log10(1 / max(chance, 1e-300)), -math.log10(self.false_positive_rate)
        if self.rule == "anomaly-index":
            score, threshold = float(anomaly_indices(norms)[suspect]), self.threshold
        flagged = score > threshold
        evidence |= {
            "suspect": suspect if flagged else None,
            "p_value": chance,
            "passes": passes,
        }
        scores = torch.as_tensor(np.median(np.log(norms)) - np.log(norms), dtype=torch.float32)
        return InspectorResult(flagged, score, threshold, evidence, class_scores=scores, triggers=found.images)

    def passes(self, size: Size) -> int:
        """Return the passes of all steps, forward and back: they grow with the number of classes."""
        own = Search.of(self).passes(size.classes)
        return own if self.rule != "reference" else 2 * own + reference_passes(size.trusted, self.epochs)


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 4) for value in values]
