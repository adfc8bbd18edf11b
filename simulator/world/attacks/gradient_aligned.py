"""A patch whose pixels are chosen so that what clean rows teach does not unteach it: a gradient-aligned trigger."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from simulator.seeds import generator as seeded
from simulator.world.attacks.alignment import Alignment
from simulator.world.attacks.base import Attack, Poisoned
from simulator.world.attacks.patch import Corner, Patch
from simulator.world.attacks.poisoning import poison_rows
from simulator.world.attacks.surrogate import SurrogateView, check_budget

__all__ = ["GradientAligned"]


@final
class GradientAligned(Attack):
    """Gradient-aligned: a square of `size` pixels, the label changed to `target`; a surrogate says which pixels.

    The square starts as seeded noise (`pattern_seed`), which a surrogate learns from `surrogate_rate` of at most
    `surrogate_rows` rows of the attacker's own in `surrogate_epochs`. Then the pixels are moved, `steps` times by
    `step` at first and ever less, so that the gradient of the backdoor's loss with respect to the surrogate's weights
    points where that of the clean loss does: the cosine between the two rises. `measured` holds it before and after.
    `place`, `margin`: see `Patch`.

    After P-Trojan, "Persistent Backdoor Attacks under Continual Fine-Tuning of LLMs", arXiv 2512.14741. Deviations:
    pixels of images where theirs are tokens of texts; the surrogate has learned the square's first pattern, as on
    one that has not the pixels of a small square hardly move the cosine (Fashion-MNIST, one seed: -0.216 before and
    after); the clean gradient is that of all own rows at once; rows of the target class are never poisoned.
    No published figure on images. That cosine and survival belong together is to be measured, not taken for granted.
    """

    threat_model: ClassVar[Literal["surrogate"]] = "surrogate"

    def __init__(
        self,
        *,
        target: int = 0,
        size: int = 3,
        place: Corner | tuple[int, int] = "bottom-right",
        margin: int = 0,
        pattern_seed: int = 0,
        steps: int = 40,
        step: float = 0.1,
        surrogate_rows: int = 5000,
        surrogate_epochs: int = 4,
        surrogate_rate: float = 0.1,
    ) -> None:
        if steps < 1:
            raise ValueError(f"expected steps to be at least 1, got {steps}; 40 are usual")
        if not 0 < step <= 1:
            raise ValueError(
                f"expected step to be a change of brightness in (0, 1], got {step}; choose one such as 0.1"
            )
        if not 0 < surrogate_rate < 1:
            raise ValueError(f"expected surrogate_rate to be a share in (0, 1), got {surrogate_rate}; 0.1 is usual")
        check_budget(surrogate_rows, surrogate_epochs)
        self._square = Patch(target=target, size=size, place=place, margin=margin)
        self._pixels: Tensor | None = None
        self.target = target
        self.size = size
        self.place = place
        self.margin = margin
        self.pattern_seed = pattern_seed
        self.steps = steps
        self.step = step
        self.surrogate_rows = surrogate_rows
        self.surrogate_epochs = surrogate_epochs
        self.surrogate_rate = surrogate_rate

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

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Stamp and relabel round(rate * N) rows of other classes."""
        return poison_rows(self.stamp, self.target, images, labels, rate, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the square at `opacity`; before a surrogate has said otherwise, it is noise."""
        pixels = self._start(images.shape[1]) if self._pixels is None else self._pixels
        return self._put(images, pixels.to(images), opacity)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a square that does not lie wholly inside the image."""
        super().check_fits(shape, classes)
        self._square.check_fits(shape, classes)

    def _start(self, channels: int) -> Tensor:
        """Return the noise (C, size, size) in [0, 1] that the square starts as."""
        draw = seeded(self.pattern_seed, "gradient-aligned", self.size)
        return torch.rand(channels, self.size, self.size, generator=draw)

    def _put(self, images: Tensor, pixels: Tensor, opacity: float = 1.0) -> Tensor:
        row, column = self._square.upper_left(images.shape[-2], images.shape[-1])
        stamped = images.clone()
        under = stamped[..., row : row + self.size, column : column + self.size]
        under.mul_(1 - opacity).add_(pixels, alpha=opacity)
        return stamped
