"""What a defense may use: everything that a defender of a continually updated model has, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from defenses.history import History
from defenses.recipe import Recipe
from defenses.rows import Rows

#: which model a defense looks at; a screen looks at the version that serves, the champion, or that would serve
Subject = Literal["champion", "candidate", "challenger"]


@dataclass(frozen=True, slots=True)
class State:
    """What a defense remembers: `values` are finite JSON values, `tensors` any by name.

    Both together at most 1 MB, keys are text, tensors dense, of real or whole numbers, finite. They are kept with the
    record of the period, so that a resumed run decides as an undisturbed one: values come back as JSON gives them, a
    tuple as a list. `period`: when they were last written, None: never; what a result gives there is not read.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    period: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a defense may use.

    `model` is a private copy in eval mode: images in [0, 1] in, logits (N, classes) out; change it freely. `subject`
    says whose it is: a filter is handed the champion's, at its second look the candidate's; a training a candidate's
    where it starts from the network as it is initialised. `feature_layer` names the
    module whose *input* is the feature vector (default: the last `nn.Linear`). `trusted` are the defender's own
    labelled images, possibly aged. `generator` is a seeded CPU generator: draw all randomness from it.

    `window` is the data of this period's update: what is about to be trained on (filters, training), or what the
    candidate was trained on (repairs, inspectors of a candidate); None elsewhere. `incoming` are unlabelled images at
    serving (screens; None elsewhere). `recipe` says how to train (training; None elsewhere). `history` is what the
    platform remembers of earlier periods, and `state` what this defense does.
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
    subject: Subject = "candidate"
    recipe: Recipe | None = None
    history: History = field(default_factory=History)
    state: State = field(default_factory=State)

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
