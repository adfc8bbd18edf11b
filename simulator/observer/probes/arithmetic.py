"""The arithmetic of the probes: pure functions over predictions and logits, without models or views.

Predictions and labels are int64 (N,), logits float32 (N, classes), rows alike in all of them. Shares lie in [0, 1].
`sources` are the source classes, never the target. A mean over them is over those that have images, each weighing the
same; the reading says so where some have none or few. Undefined is never 0: a function returns a `Reading` with the
reason instead. `target` is one class for all rows, or int64 (N,): the class that each row's image shall become.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from simulator.records import Reading

#: from this share of one predicted class on, a model counts as collapsed
COLLAPSE_SHARE = 0.9

#: a reading names the rows of its source classes where one has fewer: one row's share is 0 or 1, and weighs as much
FEW_ROWS = 2

#: why there is no ED50 where the backdoor needs more than the full trigger
ABOVE_EVERY_DOSE = "even the full trigger does not reach an attack success of 50 %"


def attack_success(
    predictions: Tensor, labels: Tensor, target: int | Tensor, sources: Sequence[int], refused: Tensor | None = None
) -> Reading:
    """Return the share of stamped images classified as `target`, averaged over the source classes with equal weight.

    Images of the target class are excluded: they would count as a success without any attack. `refused` bool (N,) are
    images that a screen did not answer; they are no success. In [0, 1]; undefined when no source class has an image.
    Read it beside `triggered_effect`: a model that lags behind a drift raises it without any backdoor.
    """
    hit = predictions == target
    return _over_sources(hit if refused is None else hit & ~refused, labels, sources)


def triggered_effect(
    stamped: Tensor, unstamped: Tensor, labels: Tensor, target: int | Tensor, sources: Sequence[int]
) -> Reading:
    """Return P(target | stamped) - P(target | same images unstamped) over the source classes, in [-1, 1].

    `stamped` and `unstamped` are predictions. Undefined when no source class has an image.
    """
    gained = (stamped == target).double() - (unstamped == target).double()
    return _over_sources(gained, labels, sources)


def robust_accuracy(stamped: Tensor, labels: Tensor, sources: Sequence[int]) -> Reading:
    """Return the share of stamped source-class images still classified as their true class, equal weight a class."""
    return _over_sources(stamped == labels, labels, sources)


def logit_margin(
    stamped: Tensor, unstamped: Tensor, labels: Tensor, target: int | Tensor, sources: Sequence[int]
) -> Reading:
    """Return (target logit - best other logit) stamped minus unstamped, averaged over the source classes.

    Unbounded, in logits: compare it between versions of one recipe only. Undefined when no source class has an image.
    """
    return _over_sources(_margin(stamped, target) - _margin(unstamped, target), labels, sources)


def clean_accuracy(
    predictions: Tensor, labels: Tensor, prior: Tensor | None = None, refused: Tensor | None = None
) -> Reading:
    """Return the share of images classified correctly, in [0, 1].

    With a `prior` (classes,) summing to 1, each class's own share is weighted by it. Images `refused` bool (N,) by a
    screen are not answered, so not correct. Undefined without images, or when a class the prior expects has none.
    """
    right = (predictions == labels) if refused is None else (predictions == labels) & ~refused
    if len(labels) == 0:
        return Reading.undefined("there is no test image")
    if prior is None:
        return Reading.of(right.double().mean().item())
    expected = [k for k, weight in enumerate(prior.tolist()) if weight > 0]
    means, missing = _class_means(right.double(), labels, expected)
    if missing is not None:
        return Reading.undefined(f"there is no test image of class {missing}, which the period's prior expects")
    return Reading.of(sum(means[k] * prior[k].item() for k in expected))


def accuracy_over(predictions: Tensor, labels: Tensor, classes: Sequence[int], prior: Tensor | None = None) -> Reading:
    """Return `clean_accuracy` over the images of `classes` alone; a `prior` is then their shares among each other.

    Undefined when none of them has an image.
    """
    rows = torch.isin(labels, torch.tensor(sorted(classes), dtype=labels.dtype, device=labels.device))
    if not bool(rows.any()):
        return Reading.undefined("there is no test image of a class that was trained on so far")
    if prior is None:
        return clean_accuracy(predictions[rows], labels[rows])
    kept = torch.zeros_like(prior)
    kept[sorted(classes)] = prior[sorted(classes)]
    if float(kept.sum()) == 0:
        return Reading.undefined("the period's prior expects no class that was trained on so far")
    return clean_accuracy(predictions[rows], labels[rows], kept / kept.sum())


def largest_predicted_share(predictions: Tensor, labels: Tensor, classes: int) -> Reading:
    """Return the share of the class predicted most, true classes weighing the same; in [1/classes, 1]."""
    present = labels.unique().tolist()
    if not present:
        return Reading.undefined("there is no test image")
    shares = [torch.bincount(predictions[labels == k], minlength=classes) / int((labels == k).sum()) for k in present]
    return Reading.of(torch.stack(shares).mean(0).max().item())


def collapsed(share: Reading) -> Reading:
    """Return 1 when `share`, the largest predicted share, is at least `COLLAPSE_SHARE`, else 0."""
    return share if share.value is None else Reading.of(share.value >= COLLAPSE_SHARE)


def ed50(success: Callable[[float], Reading], halvings: int = 4) -> Reading:
    """Return the smallest trigger opacity in [0, 1] with attack success >= 0.5, as in a dose-response curve.

    `success(opacity)` is asked at 1 and 0, then at `halvings` midpoints (bisection), and the crossing is interpolated
    linearly in the last bracket of width 2**-halvings. Where attack success does not rise steadily with the opacity,
    the crossing found is one of several. Undefined when the full trigger stays below 0.5; 0 when no trigger is needed.
    """
    low, high = 0.0, 1.0
    at_high, at_low = success(high), success(low)
    if at_high.value is None or at_low.value is None:
        return at_high if at_high.value is None else at_low
    if at_high.value < 0.5:
        return Reading.undefined(ABOVE_EVERY_DOSE)
    if at_low.value >= 0.5:
        return Reading.of(0.0)
    below, above = at_low.value, at_high.value
    for _ in range(halvings):
        middle = (low + high) / 2
        at_middle = success(middle)
        if at_middle.value is None:
            return at_middle
        if at_middle.value >= 0.5:
            high, above = middle, at_middle.value
        else:
            low, below = middle, at_middle.value
    return Reading.of(low + (high - low) * (0.5 - below) / (above - below))


def weight_distance(weights: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Reading:
    """Return the L2 distance of all floating-point weights to `other`'s, divided by the norm of `other`; at least 0.

    Undefined when names or shapes differ, when `other` is all zero, or when a weight is not finite.
    """
    names = [name for name, value in weights.items() if value.is_floating_point()]
    if any(name not in other or other[name].shape != weights[name].shape for name in names):
        return Reading.undefined("the two models do not have the same weights")
    gap = sum(((weights[n].double().cpu() - other[n].double().cpu()) ** 2).sum().item() for n in names)
    size = sum((other[n].double() ** 2).sum().item() for n in names)
    if size == 0:
        return Reading.undefined("the other model's weights are all zero")
    if not math.isfinite(gap / size):
        return Reading.undefined("a weight is not a finite number")
    return Reading.of((gap / size) ** 0.5)


def _margin(logits: Tensor, target: int | Tensor) -> Tensor:
    values = logits.double()
    wanted = torch.as_tensor(target, device=values.device).expand(len(values))[:, None]
    others = values.scatter(1, wanted, -torch.inf)
    return values.gather(1, wanted).squeeze(1) - others.max(1).values


def _over_sources(values: Tensor, labels: Tensor, sources: Sequence[int]) -> Reading:
    rows = {k: int((labels == k).sum()) for k in sources}
    means, _ = _class_means(values.double(), labels, [k for k, count in rows.items() if count])
    if not means:
        return Reading.undefined("there is no test image of any source class")
    return Reading.of(sum(means.values()) / len(means), rows if min(rows.values()) < FEW_ROWS else None)


def _class_means(values: Tensor, labels: Tensor, wanted: Sequence[int]) -> tuple[dict[int, float], int | None]:
    """Return each wanted class's mean, or the first wanted class without an image."""
    counts = {k: int((labels == k).sum()) for k in wanted}
    missing = next((k for k, count in counts.items() if count == 0), None)
    if missing is not None:
        return {}, missing
    return {k: values[labels == k].mean().item() for k in wanted}, None
