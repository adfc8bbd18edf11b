"""A patch whose pixels are optimised so that training on clean rows does not unlearn it: a gradient-aligned trigger."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.scenario.bounds import Count, InnerShare, Natural, PositiveShare
from simulator.seeds import generator as seeded
from simulator.world.attacks.base import Attack
from simulator.world.attacks.patch import Corner, Patch, put_square
from simulator.world.attacks.poisoning import DirtyLabel
from simulator.world.attacks.surrogate import SurrogateRows, SurrogateView

_ROWS = 250  # whose gradient is taken at a time


@final
@dataclass(eq=False, kw_only=True)
class GradientAligned(DirtyLabel):
    """Gradient-aligned: a square of `size` x `size` pixels optimised on a surrogate, the label changed to `target`.

    The square starts as seeded noise (`pattern_seed`). A surrogate learns it in `surrogate_epochs` epochs from at most
    `surrogate_rows` rows of the attacker's own, the share `surrogate_rate` in (0, 1) of them poisoned. Then the pixels
    take `steps` ascents, the first by `step` in (0, 1] and the later ones less, on the cosine between the gradients of
    the backdoor loss and the clean loss with respect to the surrogate's weights. `measured` has the cosine before and
    after. `place`, `margin`: see `Patch`.

    After P-Trojan, "Persistent Backdoor Attacks under Continual Fine-Tuning of LLMs", arXiv 2512.14741. Deviations:
    pixels of images where theirs are tokens of texts; the surrogate has learned the square's first pattern, because
    on one that has not, the pixels of a small square hardly move the cosine (Fashion-MNIST, one seed: -0.216 before and
    after); the clean gradient is that of all own rows at once; rows of the target class are never poisoned.
    No published figure on images. Whether a higher cosine means longer survival has to be measured.

    >>> stamped = GradientAligned(size=2).stamp(torch.zeros(1, 1, 4, 4))  # before a surrogate: noise
    >>> (stamped != 0).int().squeeze()
    tensor([[0, 0, 0, 0],
            [0, 0, 0, 0],
            [0, 0, 1, 1],
            [0, 0, 1, 1]], dtype=torch.int32)
    """

    threat_model: ClassVar[Literal["surrogate"]] = "surrogate"

    target: int = 0
    size: Count = 3
    place: Corner | tuple[int, int] = "bottom-right"
    margin: Natural = 0
    pattern_seed: int = 0
    steps: Count = 40
    step: PositiveShare = 0.1
    surrogate_rows: SurrogateRows = 5000
    surrogate_epochs: Count = 4
    surrogate_rate: InnerShare = 0.1
    _pixels: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._square = Patch(target=self.target, size=self.size, place=self.place, margin=self.margin)

    def prepared(self, view: SurrogateView) -> Attack:
        """Return the attack with its pixels chosen; `ValueError` when the own rows are all of the target class."""
        others = view.labels != self.target
        if not bool(others.any()):
            raise ValueError(
                f"expected the attacker's own rows to be of other classes than target {self.target} too, got none; "
                "raise surrogate_rows"
            )
        rows = self.poison(view.images, view.labels, self.surrogate_rate, view.generator)
        alignment = Alignment(
            view.teach(rows.images, rows.labels, self.surrogate_epochs), view.images, view.labels, self.target
        )
        start = self._start(view.images.shape[1]).to(view.images)
        pixels = alignment.raised(self._put, start, self.steps, self.step, view.generator)
        ready = copy.copy(self)
        ready._pixels = pixels
        ready.measured = {
            "gradient cosine before": alignment.cosine(self._put(view.images[others], start)),
            "gradient cosine after": alignment.cosine(self._put(view.images[others], pixels)),
        }
        return ready

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the square at `opacity`; it is noise until `prepared` has optimised it."""
        pixels = self._start(images.shape[1]) if self._pixels is None else self._pixels
        return self._put(images, pixels.to(images), opacity)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a square that is not entirely inside the image."""
        super().check_fits(shape, classes)
        self._square.check_fits(shape, classes)

    def _start(self, channels: int) -> Tensor:
        """Return the noise (C, size, size) in [0, 1] that the square starts as."""
        draw = seeded(self.pattern_seed, "gradient-aligned", self.size)
        return torch.rand(channels, self.size, self.size, generator=draw)

    def _put(self, images: Tensor, pixels: Tensor, opacity: float = 1.0) -> Tensor:
        return put_square(images, pixels, self._square.upper_left(images.shape[-2], images.shape[-1]), opacity)


@final
class Alignment:
    """Cosines with the clean gradient of `model`, taken over clean `images` (N, C, H, W) and `labels` (N,).

    Gradients are those of the mean cross-entropy with respect to all weights; the model is in eval mode.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, target: int) -> None:
        self._model = model.eval().requires_grad_(True)
        self._weights = list(model.parameters())
        self._others = images[labels != target]
        self._target = target
        self._clean = self._gradient(images, labels)

    def cosine(self, stamped: Tensor) -> float:
        """Return the cosine, in [-1, 1], of the clean gradient and the gradient for `stamped` with the target label."""
        backdoor = self._gradient(stamped, self._called(stamped))
        return float(functional.cosine_similarity(self._clean, backdoor, dim=0))

    def raised(
        self,
        put: Callable[[Tensor, Tensor], Tensor],
        start: Tensor,
        steps: int,
        step: float,
        generator: torch.Generator,
    ) -> Tensor:
        """Return pixels in [0, 1], moved from `start` so that the cosine rises.

        `put(images, pixels)` gives stamped images and can be differentiated. Ascent by the sign of the cosine's
        gradient over images of other classes, drawn anew each of `steps` times, by `step` at first and 0 at the end.
        """
        pixels = start
        for done in range(steps):
            rows = torch.randperm(len(self._others), generator=generator)[:_ROWS].to(self._others.device)
            pixels = pixels.detach().requires_grad_(True)
            (uphill,) = torch.autograd.grad(self._batch_cosine(put(self._others[rows], pixels)), pixels)
            pixels = (pixels.detach() + step * (1 - done / steps) * uphill.sign()).clamp(0, 1)
        return pixels.detach()

    def _batch_cosine(self, stamped: Tensor) -> Tensor:
        loss = functional.cross_entropy(self._model(stamped), self._called(stamped))
        backdoor = torch.autograd.grad(loss, self._weights, create_graph=True)
        return functional.cosine_similarity(self._clean, _flat(backdoor), dim=0)

    def _gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the gradient of the mean loss, flat (P,)."""
        total = torch.zeros(sum(weight.numel() for weight in self._weights), device=images.device)
        for rows, called in zip(images.split(_ROWS), labels.split(_ROWS), strict=True):
            loss = functional.cross_entropy(self._model(rows), called, reduction="sum")
            total += _flat(torch.autograd.grad(loss, self._weights))
        return total / len(images)

    def _called(self, images: Tensor) -> Tensor:
        return torch.full((len(images),), self._target, device=images.device)


def _flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
