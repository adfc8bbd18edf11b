"""What a result shows of its method beside the verdict, in a form that is small enough for every record.

Scores become lists of a few numbers, reversed triggers small images in bytes. All of it stands in the outcome's
evidence under `shown`, whose form `docs/formats.md` describes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from defenses.base import InspectorResult, RepairResult
from simulator.production.defending.unusable import Unusable
from simulator.records import Finite, Value

#: the key of an outcome's evidence; a defense's own evidence may not use it
SHOWN: Final = "shown"
#: longer lists of scores are told as their deciles; of rows there are many, and none matters by itself
LONGEST: Final = 256
LONGEST_OF_ROWS: Final = 11
#: layers whose channels' scores are told
_LAYERS: Final = 32
#: pixels of a trigger's side, and characters of all triggers together
_SIDE: Final = 64
_TRIGGERS: Final = 40_000

_Numbers = Annotated[list[Finite], Field(max_length=LONGEST)]


class Scores(Value):
    """Scores of `count` rows, classes or channels: `values` are all of them, or their minimum, deciles and maximum."""

    count: int
    values: _Numbers


class Trigger(Value):
    """The reversed trigger of a class, as an image: `pixels` are bytes (C, H, W), 0 to 255, in base64."""

    of_class: int
    shape: tuple[int, int, int]
    pixels: Annotated[str, Field(max_length=_TRIGGERS)]

    @model_validator(mode="after")
    def _fills_its_shape(self) -> Trigger:
        if len(base64.b64decode(self.pixels, validate=True)) != math.prod(self.shape):
            raise ValueError(f"expected a byte for each pixel of {self.shape}")
        return self


class Shown(Value):
    """What is shown of one result; what it does not hold is left out of the evidence."""

    scores: Scores | None = None
    class_scores: Scores | None = None
    channel_scores: Annotated[dict[str, Scores], Field(max_length=_LAYERS)] = Field(default_factory=dict)
    triggers: list[Trigger] = Field(default_factory=list)

    def evidence(self) -> dict[str, Any]:
        """Return the part of the evidence, nothing where nothing is shown."""
        found = {name: value for name, value in self.model_dump(mode="json").items() if value}
        return {SHOWN: found} if found else {}


def shown_of(result: Any, rows: int, classes: int | None) -> Shown:
    """Return what `result` shows, or raise `Unusable`.

    `rows` were in the window or incoming; `classes` is the number of classes, None: not known.
    """
    if isinstance(result, RepairResult):
        return Shown(channel_scores=_channels(result.scores))
    if isinstance(result, InspectorResult):
        scores = _checked("class_scores", result.class_scores, classes)
        triggers = [] if result.triggers is None else _triggers(result.triggers, result.class_scores, classes)
        return Shown(class_scores=_told(scores), triggers=triggers)
    return Shown(scores=_told(_checked("scores", getattr(result, "scores", None), rows), LONGEST_OF_ROWS))


def read_shown(values: Any) -> Shown:
    """Return what an answer says that it shows, or raise `Unusable`."""
    try:
        found = Shown.model_validate(values)
    except ValueError:
        raise Unusable("expected what is shown beside the verdict to be of its form, got something else") from None
    if sum(len(trigger.pixels) for trigger in found.triggers) > _TRIGGERS:
        raise Unusable(f"expected triggers of at most {_TRIGGERS} characters, got more")
    return found


def _checked(name: str, scores: Any, count: int | None) -> Tensor | None:
    if scores is None:
        return None
    fits = isinstance(scores, Tensor) and scores.dim() == 1 and count in (None, len(scores))
    if not fits or not torch.isfinite(scores).all():
        shape = f"({'classes' if count is None else count},)"
        raise Unusable(f"expected {name} to be None or a finite tensor of shape {shape}, got something else")
    found: Tensor = scores.detach().to("cpu", torch.float64)
    return found


def _told(scores: Tensor | None, longest: int = LONGEST) -> Scores | None:
    """Return the scores with six digits, which are enough to look at."""
    if scores is None or not len(scores):
        return None
    few = scores
    if len(scores) > longest:
        ordered = scores.sort().values
        few = ordered[torch.linspace(0, len(ordered) - 1, 11, dtype=torch.float64).round().long()]
    return Scores(count=len(scores), values=[float(f"{value:.6g}") for value in few.tolist()])


def _channels(scores: Any) -> dict[str, Scores]:
    if not isinstance(scores, Mapping) or not all(isinstance(name, str) for name in scores):
        raise Unusable(f"expected scores to be tensors by the name of a layer, got {type(scores).__name__}")
    checked = {name: _checked(f"scores of '{name}'", value, None) for name, value in scores.items()}
    told = {name: _told(value) for name, value in list(checked.items())[:_LAYERS]}
    return {name: value for name, value in told.items() if value is not None}


def _triggers(triggers: Any, scores: Tensor | None, classes: int | None) -> list[Trigger]:
    """Return those of the most suspicious classes, as many as there is room for, in the order of classes."""
    if not isinstance(triggers, Tensor) or triggers.dim() != 4 or classes not in (None, len(triggers)):
        count = "classes" if classes is None else classes
        raise Unusable(f"expected triggers to be None or a tensor of shape ({count}, C, H, W), got something else")
    values = triggers.detach().to("cpu", torch.float32)
    there = ~values.isnan().flatten(1).any(1)
    if not bool(((values[there] >= 0) & (values[there] <= 1)).all()):
        raise Unusable("expected triggers to lie in [0, 1], got others")
    order = torch.arange(len(values)) if scores is None else scores.detach().cpu().argsort(descending=True, stable=True)
    found: list[Trigger] = []
    room = _TRIGGERS
    for one in (int(one) for one in order if there[one]):
        made = _image(one, values[one])
        room -= len(made.pixels)
        if room < 0:
            break
        found.append(made)
    return sorted(found, key=lambda trigger: trigger.of_class)


def _image(of_class: int, image: Tensor) -> Trigger:
    channels, height, width = image.shape
    small = adaptive_avg_pool2d(image[:3], (min(height, _SIDE), min(width, _SIDE)))
    pixels = (small * 255).round().to(torch.uint8).contiguous()
    shape = (min(channels, 3), int(pixels.shape[1]), int(pixels.shape[2]))
    return Trigger(of_class=of_class, shape=shape, pixels=base64.b64encode(pixels.numpy().tobytes()).decode())
