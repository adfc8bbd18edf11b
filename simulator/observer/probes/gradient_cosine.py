"""Whether clean training weakens a backdoor or strengthens it, by the angle between two gradients."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.observer.probes.base import Probe, ProbeView, When
from simulator.observer.probes.shared import NO_ATTACK, NOT_FINITE, balanced_rows, finite, goals, source_rows, undefined
from simulator.production.training.device import laid_out_for
from simulator.records import Reading
from simulator.scenario.bounds import Count


@final
@dataclass(kw_only=True)
class GradientCosine(Probe):
    """Cosine in [-1, 1] between the gradients of the backdoor's loss and of the clean loss.

    Backdoor's loss: cross-entropy of stamped source-class images to the target. Clean loss: cross-entropy of
    unstamped images of all classes to their labels; every class weighs alike, under a label-prior drift what it weighs
    in the period. Both on about `images` test images of the period, spread evenly over the classes (the first of each
    class), over all parameters that can be trained, BatchNorm in eval mode. **Positive: a step of clean training lowers
    the backdoor's loss too, so it feeds the backdoor. Negative: clean training works against it.** A recipe's frozen
    layers count too.

    Undefined: without an attack; when a gradient is zero or not finite (a loss at its minimum, a broken model).

    Source: Cui, Han, Jiao, Zhang ("Persistent Backdoor Attacks under Continual Fine-Tuning of LLMs", arXiv 2512.14741,
    2025): the backdoor's loss after an update is bounded by a term in the length of the update times this cosine.
    Deviations: whole gradients where they align those of token embeddings; images; held-out test images, not training
    rows.

    Read it beside the twin's: a never-poisoned model may have a positive cosine too, from what target and classes
    share. It is local: it says where the next small step leads, not where an update ends.

    Cost: 2 forward and backward passes of `images` images. By default of every version.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> images, model = torch.eye(3).reshape(3, 1, 1, 3), nn.Sequential(nn.Flatten(), nn.Linear(3, 3))
    >>> _ = [nn.init.zeros_(value) for value in model.parameters()]
    >>> test = Batch(images, torch.arange(3), torch.arange(3))
    >>> view = ProbeView(model, test, 3, stamped=lambda opacity: images, target=0)  # a trigger that cannot be seen
    >>> GradientCosine().measure(view)["backdoor/gradient_cosine"].value < 0  # clean training works against it
    True
    """

    gives: ClassVar[tuple[str, ...]] = ("backdoor/gradient_cosine",)

    images: Count = 500
    when: When = "every"

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the cosine."""
        if view.stamped is None:
            return undefined(self.gives, NO_ATTACK)
        model = copy.deepcopy(view.model).eval()
        labels = view.test.labels
        ours, all_rows = source_rows(view, self.images), balanced_rows(labels, range(view.classes), self.images)
        if not len(ours):
            return undefined(self.gives, "there is no test image of a source class")
        target = goals(view, labels[ours])
        backdoor = _gradient(model, view.stamped(1.0)[ours], target, None)
        clean = _gradient(model, view.test.images[all_rows], labels[all_rows], _weights(labels[all_rows], view.prior))
        return {"backdoor/gradient_cosine": _cosine(backdoor, clean)}


def _gradient(model: nn.Module, images: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the gradient of the (weighted) mean cross-entropy over all parameters that can be trained, flat."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        return torch.zeros(1)
    with torch.enable_grad():
        losses = functional.cross_entropy(model(laid_out_for(model, images)), labels, reduction="none")
        loss = losses.mean() if weights is None else (losses * weights).sum()
        found = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found]).double()


def _weights(labels: Tensor, prior: Tensor | None) -> Tensor | None:
    """Return what each row weighs (N,), so that every class weighs its prior, in all 1; None for equal weights."""
    if prior is None:
        return None
    share = prior.to(labels.device)[labels] / torch.bincount(labels, minlength=len(prior))[labels]
    return (share / share.sum()).float()


def _cosine(one: Tensor, other: Tensor) -> Reading:
    if not finite(one, other):
        return Reading.undefined(NOT_FINITE)
    size = float(one.norm() * other.norm())
    if size == 0:
        return Reading.undefined("a gradient is zero")
    return Reading.of(max(-1.0, min(1.0, float(one @ other) / size)))
