"""Neural Cleanse: the class that a small patch can force is the backdoor's target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray
from scipy.special import stdtr

from defenses.base import Context, DoesNotApply, Inspector, InspectorResult, Size
from defenses.reversed_triggers import Reversed, Triggers


def anomaly_indices(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each positive norm (classes,) lies *below* the median, in consistent median absolute deviations.

    Index = (median - norm) / (1.4826 MAD); negative above the median. Both medians are the mean of the two middle
    values for an even count, as in the authors' code (`torch.median` takes the lower one). MAD is taken as at least
    a thousandth of the median's size, so that equal norms give 0.
    """
    middle = np.median(norms)
    deviation = 1.4826 * np.median(np.abs(norms - middle))
    return np.asarray((middle - norms) / max(deviation, 1e-3 * abs(middle), 1e-12))


def outlier_probability(norms: NDArray[np.float64]) -> float:
    """Return how likely the smallest of the positive norms (classes,) is that small, if none is an outlier.

    This is Grubbs' one-sided test of the logarithms: the smallest is compared with mean and standard deviation of the
    others by Student's t with classes - 2 degrees of freedom, and the probability is multiplied by the number of
    classes, since any could have been the smallest. The deviation is taken as at least 0.001.
    """
    logs = np.sort(np.log(norms))
    others, count = logs[1:], len(logs)
    deviation = max(float(others.std(ddof=1)), 1e-3) * math.sqrt(1 + 1 / (count - 1))
    return min(1.0, count * float(stdtr(count - 2, (logs[0] - others.mean()) / deviation)))


@final
@dataclass(frozen=True, kw_only=True)
class NeuralCleanse(Inspector):
    """Reverse-engineers a trigger for each class and flags the model when one of them is abnormally small.

    Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao: Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural
    Networks (IEEE S&P 2019). Uses the trusted images. It inspects only: the paper's unlearning is left out.

    Options: `rule` that judges; `false_positive_rate` of the outlier test on clean models; `threshold` of the anomaly
    index; `restarts`: independent starts a class, of which the smallest mask counts; `steps` of optimisation;
    `patience`: steps without a mask smaller by 1 % after which a class is done; `batch`: trusted images a step; `rate`:
    learning rate of Adam; `success`: share of images that a trigger must move to its class.

    Each class's mask (1, H, W) and pattern (C, H, W) minimise cross-entropy towards the class plus a weight times the
    mask's L1 norm; the weight grows while the trigger succeeds and falls while it does not. The norm of a class is that
    of the smallest mask that succeeded. A class without success counts with the whole image's area, so it is not
    suspicious. All classes and starts are optimised side by side in one batch; after a quarter of the steps the better
    half of each class's starts goes on, after another quarter the better half of those, and so on down to one.

    Rules: `outlier-test` flags a smallest norm that clean models have with at most the probability
    `false_positive_rate`, provided that the logarithms of their norms are normally distributed (Grubbs' test); it is
    calibrated by the other classes of the model at hand. `anomaly-index` is the paper's: over `threshold` consistent
    median absolute deviations below the median.

    Differs from the paper: the outlier test, since norms spread upwards and the paper's rule flags clean models; a
    budget of steps; restarts, since about one start in six ends in a wide mask beside the small one. Skipped with fewer
    than four classes, where spread says nothing. The paper finds all of six backdoored models, at indices above 3.

    Measured on `compact-cnn` with a white patch (3x3, 2x2 on digits) and 5 % poison, five targets: Fashion-MNIST flags
    4 of 5 planted models (the fifth at a probability of 0.0107), digits 4 of 5, CIFAR-10 5 of 5, and none of 15 clean
    ones, whose least probability was 0.029. It takes at most 48,000 passes for ten classes: 1.3 s of the processor, 0.5
    s and 2.3 s.

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

    rule: Literal["outlier-test", "anomaly-index"] = "outlier-test"
    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    threshold: Annotated[float, Gt(0)] = 2.0
    restarts: Annotated[int, Ge(1)] = 4
    steps: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] = 30
    batch: Annotated[int, Ge(1)] = 8
    rate: Annotated[float, Gt(0)] = 0.2
    success: Annotated[float, Interval(gt=0, le=1)] = 0.95

    def inspect(self, context: Context) -> InspectorResult:
        """Return the verdict; the score is -log10 of the outlier test's probability, or the smallest norm's index."""
        if context.classes < 4 or not len(context.trusted):
            raise DoesNotApply("Neural Cleanse needs trusted images and at least four classes")
        found = self._search(context)
        norms = found.norms.clamp(min=1e-3).double().cpu().numpy()
        indices, suspect = anomaly_indices(norms), int(norms.argmin())
        chance = outlier_probability(norms)
        score, threshold = float(indices[suspect]), self.threshold
        if self.rule == "outlier-test":
            score, threshold = math.log10(1 / max(chance, 1e-300)), -math.log10(self.false_positive_rate)
        evidence = {
            "suspect": suspect if score > threshold else None,
            "outlier_probability": float(f"{chance:.3g}"),
            "mask_norms": [round(float(norm), 4) for norm in norms],
            "anomaly_indices": [round(float(index), 4) for index in indices],
            "passes": found.passes,
        }
        scores = torch.as_tensor(-np.log(norms) + np.log(np.median(norms)), dtype=torch.float32)
        flagged = score > threshold
        return InspectorResult(flagged, score, threshold, evidence, class_scores=scores, triggers=found.images)

    def passes(self, size: Size) -> int:
        """Return the passes of all steps, forward and back: they grow with the number of classes."""
        return 3 * self.batch * size.classes * sum(self._starts(step) for step in range(self.steps))

    def _starts(self, step: int) -> int:
        """Return how many starts of a class are optimised in `step`: half as many each quarter of the steps."""
        return max(1, self.restarts >> (4 * step // self.steps))

    def _search(self, context: Context) -> Reversed:
        """Return each class's smallest trigger."""
        model, images = context.model.eval().requires_grad_(False), context.trusted.images
        targets = torch.arange(context.classes, device=images.device).repeat(self.restarts)
        triggers = Triggers(targets, images.shape[1:], self.rate, context.generator)
        for step in range(self.steps):
            triggers.keep_best(self._starts(step))
            if self._starts(step) == 1:
                triggers.stop_settled(self.patience)
            if not triggers.left:
                break
            drawn = torch.randint(len(images), (self.batch,), generator=context.generator).to(images.device)
            triggers.step(model, images[drawn], self.success)
        return triggers.found(context.classes)
