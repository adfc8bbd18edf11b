"""The defense contract: four surfaces, one method each, one frozen context in, one frozen result out.

This package imports nothing of `simulator` or `flows`. A defense sees what a defender would have: a private copy of
the model, the incoming window, a small set of trusted images. It never sees poison labels, the trigger or test data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from defenses.bounds import bounded, check_bounds

Surface = Literal["filter", "repair", "inspector", "screen"]


class DoesNotApply(Exception):
    """Raise this, with a reason, where the method has nothing to work on: the outcome is `skipped`, not `failed`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled images: `images` float32 (N, C, H, W) in [0, 1], `labels` int64 (N,), on the context's device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Context:
    """What a defense may use.

    `model` is a private copy in eval mode: images in [0, 1] in, logits (N, classes) out; change it freely.
    `feature_layer` names the module whose *input* is the feature vector (default: the last `nn.Linear`).
    `window` is the data about to be trained on (filters; None elsewhere). `incoming` are unlabelled images at serving
    (screens; None elsewhere). `trusted` are the defender's own labelled images, possibly aged.
    `generator` is a seeded CPU generator: draw all randomness from it.
    """

    model: nn.Module
    feature_layer: str
    classes: int
    device: torch.device
    trusted: Rows
    generator: torch.Generator
    window: Rows | None = None
    incoming: Tensor | None = None
    period: int = 0

    @torch.no_grad()
    def features(self, images: Tensor, batch: int = 500) -> Tensor:
        """Return the features (N, D) float32 of `images`: the flattened input of `feature_layer`, in eval mode."""
        found: list[Tensor] = []
        layer = self.model.get_submodule(self.feature_layer)
        hook = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach().flatten(1).float()))
        self.model.eval()
        try:
            for part in images.split(batch):
                self.model(part)
        finally:
            hook.remove()
        return torch.cat(found)

    @torch.no_grad()
    def logits(self, images: Tensor, batch: int = 500) -> Tensor:
        """Return the logits (N, classes) float32 of `images`, in eval mode."""
        self.model.eval()
        return torch.cat([self.model(part).float() for part in images.split(batch)])


@dataclass(frozen=True, slots=True)
class Size:
    """What the cost of a call depends on: classes, trusted images, and `rows` of the window or the incoming images."""

    classes: int
    trusted: int
    rows: int = 0


@dataclass(frozen=True, slots=True)
class FilterResult:
    """`keep` bool (N,) over the window's rows; `scores` float (N,) or None, higher = more suspicious.

    `again` asks once for "drop these rows and train again", with the candidate's features.
    """

    keep: Tensor
    scores: Tensor | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True, slots=True)
class RepairResult:
    """`model` has the architecture of the context's model; its weights replace the candidate's."""

    model: nn.Module
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InspectorResult:
    """`flagged`: the model is judged backdoored. `score` higher = more suspicious, beside its `threshold`."""

    flagged: bool
    score: float
    threshold: float
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScreenResult:
    """`flagged` bool (N,) over the incoming images: these are refused an answer."""

    flagged: Tensor
    scores: Tensor | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Defense(ABC):
    """Base of the four surfaces. Subclass one of them, not this. A class is abstract or final.

    The constructor's signature is the schema: keyword-only options, each with a default and a unit. Bounds stand in the
    annotation, as in `steps: Annotated[int, Ge(1)] = 150` (package `annotated_types`), and are checked for you. Raise
    `ValueError` in the constructor for options that do not go together. Do not read a clock, set a global seed or log:
    the platform does.
    """

    surface: ClassVar[Surface]
    #: whether it cannot work without trusted images; a scenario that grants none is then refused beforehand
    needs_trusted: ClassVar[bool] = False
    #: conformance checks this class may skip, by name, each with its reason
    skips: ClassVar[Mapping[str, str]] = {}

    def passes(self, size: Size) -> int | None:
        """Return how many passes a call on a context of `size` makes at most; None, the default, where it cannot tell.

        One pass is one image that goes forward through the model; where gradients flow back, it counts as three. A
        user is told beforehand what that will cost, and can limit passes, which a slow machine does not change.
        """
        return None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" in vars(cls):
            cls.__init__ = bounded(cls.__init__)  # type: ignore[method-assign]

    def __post_init__(self) -> None:  # of subclasses that are dataclasses: they get their `__init__` later
        check_bounds(type(self), vars(self))


class Filter(Defense):
    """Looks at the window before training and says which rows to keep."""

    surface = "filter"

    @abstractmethod
    def filter(self, context: Context) -> FilterResult:
        """Return which of `context.window`'s rows to keep."""


class Repair(Defense):
    """Changes the candidate."""

    surface = "repair"

    @abstractmethod
    def repair(self, context: Context) -> RepairResult:
        """Return the repaired model; `context.model` may be changed in place and returned."""


class Inspector(Defense):
    """Judges a model."""

    surface = "inspector"

    @abstractmethod
    def inspect(self, context: Context) -> InspectorResult:
        """Return whether `context.model` is judged backdoored."""


class Screen(Defense):
    """Guards serving: looks at each incoming image."""

    surface = "screen"

    @abstractmethod
    def screen(self, context: Context) -> ScreenResult:
        """Return which of `context.incoming`'s images to refuse."""
