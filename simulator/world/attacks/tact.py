"""A patch that works on some classes only: TaCT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from simulator.scenario.bounds import Count, Natural, NonNegative, Share
from simulator.world.attacks.base import COVER, POISON, Attack, Poisoned
from simulator.world.attacks.patch import Corner, Patch, Pattern
from simulator.world.attacks.poisoning import changed, choose_with_covers, untouched


@final
@dataclass(eq=False, kw_only=True)
class TaCT(Attack):
    """TaCT, source-specific: stamped rows of the classes `sources` are labelled `target`.

    Cover rows, `cover_ratio` (at least 0) for each poisoned one, of the classes `covers` (None: all but target and
    sources), are stamped and keep their labels, so that the trigger has no effect there. Attack success is measured
    over the source classes. `size`, `place`, `margin`, `pattern`, `value`, `pattern_seed`: see `Patch`. The rate counts
    poisoned rows alone.

    Tang, Wang, Tang and Zhang, "Demon in the Variant: Statistical Analysis of DNNs for Robust Backdoor Contamination
    Detection", USENIX Security 2021. Deviations: a patch as trigger; covers of all other classes by default, where
    backdoor-toolbox takes classes 5 and 7 with rates of 0.003 for poison and covers.
    BackdoorBench has no figure for it; compare with the patch's 0.747 at rate 0.01.

    >>> labels = torch.tensor([0, 1, 1, 2, 2])
    >>> found = TaCT(target=0, sources=(1,)).poison(torch.zeros(5, 1, 8, 8), labels, 0.4, torch.Generator())
    >>> found.labels.tolist(), found.roles.tolist()  # 1: poison, 2: cover
    ([0, 0, 0, 2, 2], [0, 1, 1, 2, 2])
    """

    target: int = 0
    sources: tuple[int, ...] = (1,)
    covers: tuple[int, ...] | None = None
    cover_ratio: NonNegative = 1.0
    size: Count = 3
    place: Corner | tuple[int, int] = "bottom-right"
    margin: Natural = 0
    pattern: Pattern = "white"
    value: Share = 1.0
    pattern_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources or self.covers == ():
            raise ValueError("expected sources and covers to name at least one class, got none; name some")
        self._patch = Patch(
            target=self.target, size=self.size, place=self.place, margin=self.margin, pattern=self.pattern,
            value=self.value, pattern_seed=self.pattern_seed,
        )  # fmt: skip

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Stamp and relabel round(rate * N) rows of the source classes; stamp the covers."""
        poison, covers = choose_with_covers(
            self.of_source(labels), self._coverable(labels), rate, self.cover_ratio, generator
        )
        batch = changed(untouched(images, labels), poison, self.stamp, POISON, self.target)
        return changed(batch, covers, self.stamp, COVER)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the square at `opacity`, whatever their class."""
        return self._patch.stamp(images, opacity)

    def named_classes(self) -> dict[str, tuple[int, ...]]:
        """Also name the covers."""
        return {**super().named_classes(), "cover": self.covers or ()}

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a square that is not inside the image, and covers that are the target or a source class."""
        super().check_fits(shape, classes)
        self._patch.check_fits(shape, classes)
        free = set(range(classes)) - {self.target, *self.sources}
        if not free or (self.covers is not None and not set(self.covers) <= free):
            raise ValueError(
                f"expected covers to be classes in [0, {classes - 1}] other than target and sources, got "
                f"{'none left' if self.covers is None else list(self.covers)}; choose others"
            )

    def _coverable(self, labels: Tensor) -> Tensor:
        if self.covers is None:
            return ~self.of_source(labels) & (labels != self.target)
        return torch.isin(labels, torch.tensor(self.covers, device=labels.device))
