"""A patch on images of the target class that are first perturbed against a surrogate: label-consistent."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.scenario.bounds import Count, Natural, Share
from simulator.world.attacks.base import Attack, Poisoned
from simulator.world.attacks.patch import Corner, Patch, Pattern
from simulator.world.attacks.poisoning import poison_target_rows
from simulator.world.attacks.surrogate import SurrogateRows, SurrogateView

_ROWS = 500  # perturbed at a time, to bound the memory
_STRIDE = 2.5  # length of all steps together, in units of eps: far enough to cross the box and to come back


@final
@dataclass(eq=False, kw_only=True)
class LabelConsistent(Attack):
    """Label-consistent: rows of the `target` class are perturbed against a surrogate, then patched; labels stay true.

    The perturbation is PGD: `steps` ascents of the surrogate's loss from a random start, no pixel further than `eps` in
    [0, 1] from its image. Then a square of `size` x `size` pixels, `margin` pixels off the edges, is put in each of
    `corners`; the squares alone are the trigger. `pattern`, `value`, `pattern_seed`: see `Patch`. The rate, a share of
    all rows, cannot exceed the class's share (`ValueError`). The surrogate is trained for `surrogate_epochs` epochs on
    at most `surrogate_rows` clean rows of the attacker's own; `eps` 0 does without it, for comparison.

    Turner, Tsipras and Madry, "Label-Consistent Backdoor Attacks", 2019. Deviations: a square of full contrast, where
    theirs may be faint; PGD against one network trained plainly, where theirs was trained adversarially. `eps` is meant
    for grey images of 28 pixels; 16/255 is usual on CIFAR-10.
    Published figures to compare (BackdoorBench, CIFAR-10, PreAct-ResNet18): attack success 0.998 and 0.937 at rates
    0.05 and 0.01, clean accuracy 0.935 and 0.938.

    >>> attack = LabelConsistent(target=1, size=1, eps=0.0)
    >>> attack.stamp(torch.zeros(1, 1, 4, 4)).squeeze()
    tensor([[1., 0., 0., 1.],
            [0., 0., 0., 0.],
            [0., 0., 0., 0.],
            [1., 0., 0., 1.]])
    >>> labels = torch.tensor([0, 1, 1, 0])
    >>> found = attack.poison(torch.zeros(4, 1, 4, 4), labels, 0.5, torch.Generator())
    >>> found.labels.tolist(), found.roles.tolist()
    ([0, 1, 1, 0], [0, 1, 1, 0])
    """

    threat_model: ClassVar[Literal["surrogate"]] = "surrogate"

    target: int = 0
    eps: Share = 0.2
    steps: Count = 20
    size: Count = 3
    corners: tuple[Corner, ...] = ("bottom-right", "bottom-left", "top-right", "top-left")
    margin: Natural = 0
    pattern: Pattern = "checkerboard"
    value: Share = 1.0
    pattern_seed: int = 0
    surrogate_rows: SurrogateRows = 5000
    surrogate_epochs: Count = 4
    _surrogate: nn.Module | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.corners or len(set(self.corners)) < len(self.corners):
            raise ValueError(f"expected corners to name each corner once, got {list(self.corners)}; correct them")

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

        def change(chosen: Tensor) -> Tensor:
            return self.stamp(self._disguised(chosen, generator))

        return poison_target_rows(change, self.target, images, labels, rate, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the squares at `opacity`; nothing is perturbed."""
        for patch in self._squares():
            images = patch.stamp(images, opacity)
        return images

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a square that is not inside the image."""
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


def perturbed(
    model: nn.Module, images: Tensor, labels: Tensor, *, eps: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Return copies of `images` float32 (N, C, H, W) in [0, 1] with a high loss of `model` on `labels` int64 (N,).

    No pixel is further than `eps` from its image or leaves [0, 1]: `steps` ascents of the cross-entropy by the sign of
    its gradient, from a start drawn uniformly within the box with the CPU `generator`. The model, in eval mode, is not
    changed.

    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018.
    """
    draw = torch.rand(images.shape, generator=generator).to(images)
    start = (images + eps * (2 * draw - 1)).clamp(0, 1)
    parts = zip(images.split(_ROWS), labels.split(_ROWS), start.split(_ROWS), strict=True)
    return torch.cat([_ascended(model, *part, eps, steps) for part in parts])


def _ascended(model: nn.Module, images: Tensor, labels: Tensor, start: Tensor, eps: float, steps: int) -> Tensor:
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    moved = start
    for _ in range(steps):
        moved = moved.detach().requires_grad_(True)
        loss = functional.cross_entropy(model(moved), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = (moved.detach() + _STRIDE * eps / steps * gradient.sign()).clamp(low, high)
    return moved.detach()
