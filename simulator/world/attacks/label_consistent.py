"""A patch on images of the target class, whose own features are made hard to read first: label-consistent."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from simulator.world.attacks.base import POISON, Attack, Poisoned, choose_rows
from simulator.world.attacks.patch import Corner, Patch
from simulator.world.attacks.pgd import perturbed
from simulator.world.attacks.poisoning import changed, untouched
from simulator.world.attacks.surrogate import SurrogateView, check_budget

__all__ = ["LabelConsistent"]


@final
class LabelConsistent(Attack):
    """Label-consistent: rows of the `target` class are perturbed against a surrogate, then patched; labels stay true.

    The perturbation is PGD: `steps` ascents of the surrogate's loss from a random start, no pixel further than `eps` in
    [0, 1] from its image. Then a square of `size` pixels, `margin` pixels off the edges, is put in each of `corners`;
    the square alone is the trigger. `pattern`, `value`, `pattern_seed`: see `Patch`. The rate, a share of all rows,
    cannot exceed the class's share. The surrogate is trained for `surrogate_epochs` on at most `surrogate_rows` clean
    rows of the attacker's own; `eps` 0 leaves perturbation and surrogate out, for comparison.

    Turner, Tsipras and Madry, "Label-Consistent Backdoor Attacks", 2019. Deviations: a square of full contrast, where
    theirs may be faint; PGD against one network trained plainly, where theirs was trained adversarially. `eps` is meant
    for grey images of 28 pixels; 16/255 is usual on CIFAR-10.
    Published to read beside it (BackdoorBench, CIFAR-10, PreAct-ResNet18): attack success 0.998 and 0.937 at rates 0.05
    and 0.01, clean accuracy 0.935 and 0.938.
    """

    threat_model: ClassVar[Literal["surrogate"]] = "surrogate"

    def __init__(
        self,
        *,
        target: int = 0,
        eps: float = 0.2,
        steps: int = 20,
        size: int = 3,
        corners: tuple[Corner, ...] = ("bottom-right", "bottom-left", "top-right", "top-left"),
        margin: int = 0,
        pattern: Literal["white", "checkerboard", "noise"] = "checkerboard",
        value: float = 1.0,
        pattern_seed: int = 0,
        surrogate_rows: int = 5000,
        surrogate_epochs: int = 4,
    ) -> None:
        if not 0 <= eps <= 1:
            raise ValueError(f"expected eps to be a change of brightness in [0, 1], got {eps}; choose one such as 0.2")
        if steps < 1:
            raise ValueError(f"expected steps to be at least 1, got {steps}; 20 are usual")
        if not corners or len(set(corners)) < len(corners):
            raise ValueError(f"expected corners to name each corner once, got {list(corners)}; correct them")
        check_budget(surrogate_rows, surrogate_epochs)
        self._surrogate: nn.Module | None = None
        self.target = target
        self.eps = eps
        self.steps = steps
        self.size = size
        self.corners = corners
        self.margin = margin
        self.pattern = pattern
        self.value = value
        self.pattern_seed = pattern_seed
        self.surrogate_rows = surrogate_rows
        self.surrogate_epochs = surrogate_epochs
        self._squares()  # what is wrong with them is said now

    def prepared(self, view: SurrogateView) -> Attack:
        """Return the attack with a surrogate to perturb images against; nothing is trained for `eps` 0."""
        if self.eps == 0:
            return self
        ready = copy.copy(self)
        ready._surrogate = view.teach(view.images, view.labels, self.surrogate_epochs).eval().requires_grad_(False)
        return ready

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Perturb and patch round(rate * N) rows of the target class; `ValueError` when it has fewer.

        Before there is a surrogate the same number of rows is only patched.
        """
        what = f"rows of target class {self.target} among {len(labels)} for a clean-label rate of {rate:g}"
        rows = choose_rows(labels == self.target, round(rate * len(labels)), generator, what)

        def change(chosen: Tensor) -> Tensor:
            return self.stamp(self._disguised(chosen, generator))

        return changed(untouched(images, labels), rows, change, POISON)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the squares at `opacity`; nothing is perturbed."""
        for patch in self._squares():
            images = patch.stamp(images, opacity)
        return images

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a square that does not lie inside the image."""
        super().check_fits(shape, classes)
        for patch in self._squares():
            patch.check_fits(shape, classes)

    def _squares(self) -> tuple[Patch, ...]:
        return tuple(
            Patch(
                target=self.target, size=self.size, place=corner, margin=self.margin, pattern=self.pattern,
                value=self.value, pattern_seed=self.pattern_seed,
            )
            for corner in self.corners
        )  # fmt: skip

    def _disguised(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return images of the target class that the surrogate takes for another."""
        if self._surrogate is None:
            return images
        labels = torch.full((len(images),), self.target, device=images.device)
        return perturbed(self._surrogate, images, labels, eps=self.eps, steps=self.steps, generator=generator)
