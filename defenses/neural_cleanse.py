"""Neural Cleanse: the class that a small patch can force is the backdoor's target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Inspector, InspectorResult, Size


def anomaly_indices(norms: NDArray[np.float64]) -> NDArray[np.float64]:
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
    Networks (IEEE S&P 2019). Uses the trusted images. It inspects only: the paper's unlearning is left out.

    Options: `threshold` of the anomaly index; `fraction` of the median norm that a suspicious norm may have at most;
    `scale` on which the index of the norms is computed; `restarts`: independent starts a class, of which the smallest
    mask counts; `steps` of optimisation; `batch`: trusted images a step; `rate`: learning rate of Adam; `success`:
    share of images that a trigger must move to its class.

    Each class's mask (1, H, W) and pattern (C, H, W) minimise cross-entropy towards the class plus a weight times the
    mask's L1 norm; the weight grows while the trigger succeeds and falls while it does not. The norm of a class is that
    of the smallest mask that succeeded. A class without success counts with the whole image's area, so it is not
    suspicious. All classes and starts are optimised side by side in one batch.

    Differs from the paper: a fixed budget of steps; restarts, since about one start in six ends in a wide mask beside
    the small one; the index of logarithms, and the bound by `fraction`. Measured on `standard-cnn`, Fashion-MNIST,
    3,000 and 10,000 rows, 3x3 patch in the corner: the target's norm is 0.06 to 0.14 of the median (37 models, all ten
    targets, all flagged), the smallest norm of a clean model, mostly that of 8 (bag), 0.37 to 0.79 (16 models, none
    flagged); 8 and 4 of these models were trained after the options had been chosen. The published rule
    (`scale: linear`, `fraction: 1`) flags 6 of the same 16 clean models, since norms spread upwards, and misses one
    target, at 0.10. A patch 1 or 4 pixels off the corner is learned less exactly: the target's norm is 0.08 to 0.30 of
    the median (5 models, one missed). Skipped with fewer than four classes, where the median absolute deviation says
    nothing.

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

    threshold: Annotated[float, Gt(0)] = 2.0
    fraction: Annotated[float, Interval(gt=0, le=1)] = 0.25
    scale: Literal["log", "linear"] = "log"
    restarts: Annotated[int, Ge(1)] = 4
    steps: Annotated[int, Ge(1)] = 150
    batch: Annotated[int, Ge(1)] = 8
    rate: Annotated[float, Gt(0)] = 0.1
    success: Annotated[float, Interval(gt=0, le=1)] = 0.95

    def inspect(self, context: Context) -> InspectorResult:
        """Return the verdict; the score is the smallest trigger's index, or 0 when it is not small by `fraction`."""
        if context.classes < 4 or not len(context.trusted):
            raise DoesNotApply("Neural Cleanse needs trusted images and at least four classes")
        norms = self._norms(context)
        indices = anomaly_indices(np.log(norms) if self.scale == "log" else norms)
        suspect = int(norms.argmin())
        small = norms[suspect] <= self.fraction * np.median(norms)
        score = max(0.0, float(indices[suspect])) if small else 0.0
        flagged = score > self.threshold
        evidence = {
            "suspect": suspect if flagged else None,
            "mask_norms": [round(float(norm), 4) for norm in norms],
            "anomaly_indices": [round(float(index), 4) for index in indices],
        }
        return InspectorResult(flagged, score, self.threshold, evidence)

    def passes(self, size: Size) -> int:
        """Return the passes of all steps, forward and back: they grow with the number of classes."""
        return 3 * self.steps * self.batch * self.restarts * size.classes

    def _norms(self, context: Context) -> NDArray[np.float64]:
        """Return the L1 norm (classes,) of each class's smallest mask that succeeded, in pixels."""
        model, images = context.model.eval().requires_grad_(False), context.trusted.images
        targets = torch.arange(context.classes, device=images.device).repeat(self.restarts)
        triggers = _Triggers(targets, images.shape[1:], self.rate, context.generator)
        smallest = torch.full(targets.shape, float(images[0, 0].numel()), device=images.device)
        for _ in range(self.steps):
            drawn = torch.randint(len(images), (self.batch,), generator=context.generator).to(images.device)
            reached, norms = triggers.step(model, images[drawn], self.success)
            smallest = torch.where(reached & (norms < smallest), norms, smallest)
        best = smallest.view(self.restarts, context.classes).amin(0)
        return best.clamp(min=1e-3).double().cpu().numpy()


#: opacity of every pixel at the start
_OPACITY = 0.2
#: how fast the weight of the mask's norm grows by success, and falls by failure, a step
_UP, _DOWN = 1.084, 1.129
#: first weight of the mask's norm, and its bounds
_WEIGHT, _LEAST, _MOST = 1e-2, 1e-5, 1.0
#: share of the past in the running success rate
_MEMORY = 0.7


class _Triggers:
    """One mask and pattern for each of `targets` (T,), all optimised side by side."""

    def __init__(self, targets: Tensor, shape: torch.Size, rate: float, generator: torch.Generator) -> None:
        channels, height, width = shape
        drawn = torch.rand(len(targets), 1 + channels, height, width, generator=generator) - 0.5
        drawn[:, 0] += math.log(_OPACITY / (1 - _OPACITY)) / 2
        self._raw = drawn.to(targets.device).requires_grad_()
        self._optimizer = torch.optim.Adam([self._raw], lr=rate, betas=(0.5, 0.9))
        self._weight = torch.full(targets.shape, _WEIGHT, device=targets.device)
        self._rate_of_success = torch.zeros(targets.shape, device=targets.device)
        self._targets = targets

    def step(self, model: nn.Module, images: Tensor, success: float) -> tuple[Tensor, Tensor]:
        """Take one step on `images` (B, C, H, W); return (T,) which triggers succeed, and their masks' norms."""
        opacity, pattern = torch.sigmoid(2 * self._raw).split([1, images.shape[1]], dim=1)
        stamped = images + opacity[:, None] * (pattern[:, None] - images)
        labels = self._targets.repeat_interleave(len(images))
        logits = model(stamped.flatten(0, 1))
        losses = cross_entropy(logits, labels, reduction="none").view(len(self._targets), -1).mean(1)
        norms = opacity.sum((1, 2, 3))
        self._optimizer.zero_grad()
        (losses + self._weight * norms).sum().backward()
        self._optimizer.step()
        hits = (logits.argmax(1) == labels).view(len(self._targets), -1).float().mean(1)
        self._rate_of_success = _MEMORY * self._rate_of_success + (1 - _MEMORY) * hits
        steady = self._rate_of_success >= success
        self._weight = torch.where(steady, self._weight * _UP, self._weight / _DOWN).clamp(_LEAST, _MOST)
        return steady & (hits >= success), norms.detach()
