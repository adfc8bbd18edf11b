"""The probe contract: measure a model, knowing the truth. Pure: the same view gives the same readings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from torch import Tensor, nn

from simulator.batch import Batch
from simulator.records import Reading
from simulator.scenario.bounds import Bounded

When = Literal["every", "milestones"]


class Screens(Protocol):
    """What guards serving: for images (N, C, H, W), which are refused, and what is answered in the model's place."""

    def refused(self, images: Tensor, /) -> Tensor:
        """Return a mask bool (N,)."""

    def answers(self, images: Tensor, /) -> Tensor:
        """Return classes int64 (N,), -1 where the model answers itself."""


@dataclass(frozen=True, slots=True)
class ProbeView:
    """What a probe may see.

    `model` in eval mode on its device. `test` are unstamped test images of the current period's distribution.
    `prior` (classes,) sums to 1, or None when the classes are as in the test part.
    `parent` and `ancestor` are the weights of the parent and of the poisoned ancestor, `control` those of the version
    that serves in the paced twin: parameters and buffers by name, on the CPU, or None where there is none. `control` is
    None too for a probe that does not say `needs_control`.
    """

    model: nn.Module
    test: Batch
    classes: int
    #: stamped test images at an opacity in [0, 1], rows as in `test`; None without an attack
    stamped: Callable[[float], Tensor] | None
    target: int
    #: the classes over which attack success is measured; None: all but the target
    sources: tuple[int, ...] | None = None
    #: where the goal depends on the image's class: the class that each class shall become; None: `target` for all
    targets: tuple[int, ...] | None = None
    prior: Tensor | None = None
    parent: dict[str, Tensor] | None = None
    ancestor: dict[str, Tensor] | None = None
    control: dict[str, Tensor] | None = None
    #: the classes of all rows that were trained on so far; None: not known
    seen: tuple[int, ...] | None = None
    #: of the scenario and the period, for `simulator.seeds`: the same for an arm and its twins
    seed: int = 0
    #: which images the screens in front of the model refuse, bool (N,); None without screens
    screen: Callable[[Tensor], Tensor] | None = None
    #: the class that screens answer in the model's place, int64 (N,), -1: none does; None: as if none did
    answers: Callable[[Tensor], Tensor] | None = None
    #: re-learning pool and fine-tuning for the re-learning probes, injected by the timeline; None: no pool
    relearn: Relearner | None = None
    #: results that the probes of this view share (forward passes); they fill it
    shared: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Relearner:
    """What the re-learning probe needs from the world and from training.

    `pool(draw, poisoned, unrelated)` gives one draw of the re-learning pool, labelled, in the current period's
    distribution, `poisoned` of its rows carrying the trigger (or an unrelated one) and the target label.
    `stamped(unrelated)` gives the stamped test images, rows as in `ProbeView.test`.
    `fine_tune(model, batch, draw, epochs, rate)` returns a trained copy in eval mode.
    `watch(model, batch, draw, epochs, rate, look)` does the same training and calls `look(copy)` after every optimizer
    step; training ends when that returns True. `look` must leave the copy as it is.
    """

    pool: Callable[[int, int, bool], Batch]
    stamped: Callable[[bool], Tensor]
    fine_tune: Callable[[nn.Module, Batch, int, int, float], nn.Module]
    watch: Callable[[nn.Module, Batch, int, int, float, Callable[[nn.Module], bool]], nn.Module]


class Probe(Bounded, ABC):
    """A measurement of one version. Its readings are named `group/name`."""

    #: names of the readings it gives
    gives: ClassVar[tuple[str, ...]]
    #: `every` version, or only the `milestones` (first erased and last version) because it is costly
    when: When = "every"
    #: whether it compares with the paced twin's version (`ProbeView.control`): then it measures once both have played a
    #: period, and only the version that serves, never a rejected candidate
    needs_control: ClassVar[bool] = False

    @property
    def relearns(self) -> tuple[int, int] | None:
        """The number of draws of the re-learning pool it needs, and the most poisoned rows of one; None: no draws."""
        return None

    @abstractmethod
    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return a reading for each name in `gives`."""
