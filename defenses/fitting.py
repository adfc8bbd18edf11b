"""Training on trusted images: what the repairs share of batches, augmentation, learning rates and BatchNorm.

A repair has few images and wants the backdoor to go without losing accuracy. Papers that fine-tune draw random crops;
without them a model of a few thousand weights learns 500 images by heart within some epochs, and then nothing more
pushes against the trigger. So images are moved by up to an eighth of their size (4 pixels of 32, as is usual) unless a
repair says otherwise. They are never mirrored: that changes what a digit or a sign says.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from defenses.base import Context, DoesNotApply, Rows

#: share of the training that is done, from 0 to below 1 -> learning rate
Rate = Callable[[float], float]


def cosine(peak: float) -> Rate:
    """Return a rate that falls from `peak` to 0 along half a cosine.

    >>> [round(cosine(0.1)(share), 3) for share in (0.0, 0.5, 0.75)]
    [0.1, 0.05, 0.015]
    """
    return lambda share: peak * (1 + math.cos(math.pi * share)) / 2


def constant(rate: float) -> Rate:
    """Return a rate that stays the same."""
    return lambda share: rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train: `epochs` over the rows, `batch` rows a step, stochastic gradient descent.

    `rate` gives the learning rate; `decay` is the weight decay; `shift` is the share of the width and height by which
    images are moved at most.
    """

    epochs: int
    batch: int
    rate: Rate
    momentum: float = 0.9
    decay: float = 5e-4
    shift: float = 0.125

    def steps(self, rows: int) -> int:
        """Return how many steps a training on so many rows takes."""
        return self.epochs * steps_of(rows, self.batch)


def steps_of(rows: int, batch: int) -> int:
    """Return the steps of an epoch: a last batch may be smaller, but a single left-over row is dropped.

    >>> [steps_of(rows, 4) for rows in (1, 4, 5, 6)]
    [0, 1, 1, 2]
    """
    return (rows + batch - 2) // batch


def batches(rows: Rows, *, epochs: int, batch: int, generator: torch.Generator, shift: float = 0.0) -> Iterator[Rows]:
    """Yield the batches of each epoch, in a new order each time, their images moved by up to `shift` of their size.

    A single left-over row is dropped, because BatchNorm cannot train on one.
    """
    for _ in range(epochs):
        order = torch.randperm(len(rows), generator=generator).to(rows.labels.device)
        for some in order.split(batch):
            if len(some) > 1:
                yield Rows(shifted(rows.images[some], shift, generator), rows.labels[some])


def shifted(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return copies of `images` (N, C, H, W), each moved by its own random vector; edges are repeated outwards.

    >>> image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    >>> shifted(image, 0.4, torch.Generator().manual_seed(3)).view(3, 3)
    tensor([[2., 3., 3.],
            [5., 6., 6.],
            [8., 9., 9.]])
    """
    height, width = images.shape[2:]
    reach = round(share * min(height, width))
    if reach == 0:
        return images
    padded = pad(images, (reach,) * 4, mode="replicate")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # one for each of all moves
    moves = torch.randint(2 * reach + 1, (2, len(images)), generator=generator).to(images.device)
    return windows[torch.arange(len(images), device=images.device), :, moves[0], moves[1]]


def fine_tune(
    model: nn.Module,
    rows: Rows,
    plan: Plan,
    generator: torch.Generator,
    *,
    loss: Callable[[Rows], Tensor] | None = None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train `model` on `rows` in place, with BatchNorm in training mode; leave it in eval mode.

    In the end BatchNorm's running mean and variance are those of `rows` as they are, not moved. `loss` of a batch is
    the cross-entropy of the model's answers unless another one is given. `after_step` is called after each step, for
    what has to hold all the while.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=plan.momentum, weight_decay=plan.decay)
    drawn = batches(rows, epochs=plan.epochs, batch=plan.batch, generator=generator, shift=plan.shift)
    model.train()
    for step, some in enumerate(drawn):
        set_rate(optimizer, plan.rate(step / plan.steps(len(rows))))
        optimizer.zero_grad()
        (cross_entropy(model(some.images), some.labels) if loss is None else loss(some)).backward()
        optimizer.step()
        if after_step is not None:
            after_step()
    settle_batchnorm(model, rows)


@torch.no_grad()
def settle_batchnorm(model: nn.Module, rows: Rows, batch: int = 500) -> None:
    """Set the running mean and variance of each BatchNorm to those over `rows`; leave `model` in eval mode.

    While training they follow small batches of moved images, which cost some points of accuracy on images as they are.
    Rows are taken in turn, not one stretch after another: of rows that are sorted by class, each stretch would vary
    far less than all rows do.
    """
    model.eval()
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    norms = [module for module in model.modules() if isinstance(module, kinds) and module.track_running_stats]
    followed = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, each alike
        norm.train()
    parts = max(1, round(len(rows) / batch))
    for part in range(parts) if norms else ():
        model(rows.images[part::parts])
    for norm, momentum in zip(norms, followed, strict=True):
        norm.momentum = momentum
        norm.eval()


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def accuracy(model: nn.Module, rows: Rows) -> float:
    """Return the share of `rows` that `model` classifies rightly, in eval mode."""
    model.eval()
    answers = torch.cat([model(part).argmax(1) for part in rows.images.split(500)])
    return int((answers == rows.labels).sum()) / len(rows)


def expect_trusted(context: Context, least: int, method: str) -> Rows:
    """Return the trusted images, of which `method` needs `least`; raise `DoesNotApply` where there are fewer."""
    found = len(context.trusted)
    if found < least:
        raise DoesNotApply(f"{method} needs at least {least} trusted images, there are {found}")
    return context.trusted


def held_out(rows: Rows, share: float, generator: torch.Generator) -> tuple[Rows, Rows]:
    """Return `rows` split at random into those to train on and the `share` to measure accuracy on, at least one each.

    >>> rows = Rows(torch.zeros(10, 1, 2, 2), torch.arange(10))
    >>> first, second = held_out(rows, 0.3, torch.Generator().manual_seed(0))
    >>> len(first), sorted([*first.labels.tolist(), *second.labels.tolist()]) == list(range(10))
    (7, True)
    """
    order = torch.randperm(len(rows), generator=generator)
    count = min(max(1, round(share * len(rows))), len(rows) - 1)
    return rows.take(order[count:]), rows.take(order[:count])


#: trains a model in place on rows, at a share of the method's full strength
Train = Callable[[nn.Module, Rows, float], None]
#: strengths that are tried, strongest first
STRENGTHS = (1.0, 0.5, 0.25, 0.125, 0.0625)


@dataclass(frozen=True, slots=True)
class Limited:
    """A model that was trained no harder than its accuracy allows, at `strength` (0: left as it was).

    `before` and `after`: accuracy on held-out trusted images.
    """

    model: nn.Module
    strength: float
    before: float
    after: float

    @property
    def evidence(self) -> dict[str, Any]:
        """What a repair shows of it."""
        return {"strength": self.strength, "held_out_accuracy": {"before": self.before, "after": self.after}}


def within(context: Context, train: Train, *, drop: float, holdout: float) -> Limited:
    """Return the model after the strongest training that costs at most `drop` of accuracy on held-out trusted images.

    Rates that a paper chose for its network and its thousands of images ruin another network that has hundreds; a
    defender sees that on the share `holdout` of trusted images that are not trained on, and tries again at half the
    strength. With a `drop` of 1 the first training counts, whatever it costs. A model that none of `STRENGTHS` suits
    is left as it was.
    """
    rows, checked = held_out(context.trusted, holdout, context.generator)
    before = accuracy(context.model, checked)
    model, strength = strongest(context.model, train, rows, checked, before - drop)
    return Limited(model, strength, before, accuracy(model, checked))


def strongest(model: nn.Module, train: Train, rows: Rows, checked: Rows, least: float) -> tuple[nn.Module, float]:
    """Return a copy of `model` after the strongest training on `rows` that leaves it the `least` accuracy on `checked`.

    And its strength; `model` itself and 0 where none does.
    """
    for strength in STRENGTHS:
        candidate = copy.deepcopy(model)
        train(candidate, rows, strength)
        if accuracy(candidate, checked) >= least:
            return candidate, strength
    return model, 0.0
