"""Canary re-learning: a model that knows a backdoor learns another one to the same class faster than usual."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Annotated, Any, final

import numpy as np
import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Inspector, InspectorResult, Size, State, Threshold
from defenses.canary import Canary
from defenses.unusual import p_value_above, p_values_among

#: earlier versions whose readings are kept
_KEPT = 24


@final
@dataclass(frozen=True, kw_only=True)
class CanaryRelearning(Inspector):
    """Plants a trigger of its own, the canary, in a copy of the model, class by class, and compares how fast it takes.

    Ours, after the observation that a purified model re-learns its backdoor from few samples (Min et al., Uncovering,
    Explaining, and Mitigating the Superficial Safety of Backdoor Defense, NeurIPS 2024). The canary is a random patch
    at a random place, the same for all classes and versions of a scenario. The head and all else of the copy is
    trained for `steps` steps on `batch` trusted images, half of them stamped and labelled with the class; the reading
    is the share of stamped images of other classes, not trained on, that are then named so.

    Options: `size` of the patch in pixels; `steps`, `batch`, `rate` of that training; `false_alarm_rate` of a look over
    all classes; `least` earlier versions from which each class is compared with its own trend. Before, a class is
    compared with the other classes.

    Its threshold is a p-value beside the readings of earlier versions, or at first beside those of other classes. The
    readings of versions that were inspected are its state. Costs `steps` * `batch` * classes passes with gradients.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> generator = torch.Generator().manual_seed(0)
    >>> images, labels = torch.rand(80, 1, 8, 8, generator=generator), torch.arange(80) % 4
    >>> head = nn.Linear(64, 4)
    >>> with torch.no_grad():
    ...     _ = head.weight.zero_(), head.bias.zero_()
    >>> found = CanaryRelearning(steps=2, size=2).inspect(Context(
    ...     model=nn.Sequential(nn.Flatten(), head), feature_layer="1", classes=4, device=torch.device("cpu"),
    ...     trusted=Rows(images, labels), generator=generator))
    >>> found.evidence["compared_with"], len(found.state.values["canary"]), tuple(found.class_scores.shape)
    ('other classes', 4, (4,))
    """

    needs_trusted = True
    calibration = "earlier versions"
    threshold_option = Threshold("false_alarm_rate", of="p_value", flags="below")
    remembers = True

    size: Annotated[int, Ge(1)] = 3
    steps: Annotated[int, Ge(1)] = 12
    batch: Annotated[int, Ge(4)] = 32
    rate: Annotated[float, Interval(gt=0, le=1)] = 0.01
    false_alarm_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    least: Annotated[int, Ge(3)] = 5

    def inspect(self, context: Context) -> InspectorResult:
        """Return whether some class takes the canary unusually fast; score: minus log10 of the corrected p-value."""
        half = len(context.trusted) // 2
        if half < self.batch or min(context.trusted.images.shape[2:]) < self.size:
            raise DoesNotApply(
                f"canary-relearning needs {2 * self.batch} trusted images of at least {self.size} pixels"
            )
        canary = self._canary(context)
        readings = np.array(
            [self._reading(context, replace(canary, label=label), half) for label in range(context.classes)]
        )
        earlier = np.array(context.state.values.get("readings", [])).reshape(-1, context.classes)
        if len(earlier) < self.least:
            p_values, beside = p_values_among(readings), "other classes"
        else:
            columns = zip(readings, earlier.T, strict=True)
            p_values = np.array([p_value_above(float(one), before) for one, before in columns])
            beside = f"{len(earlier)} earlier versions"
        corrected = min(1.0, context.classes * float(np.nanmin(p_values)))
        flagged = corrected <= self.false_alarm_rate
        evidence: dict[str, Any] = {
            "compared_with": beside,
            "p_value": corrected,
            "suspect": int(np.nanargmin(p_values)) if flagged else None,
        }
        kept = earlier if flagged or context.subject != "candidate" else np.vstack([earlier, readings])[-_KEPT:]
        marked = {"canary": canary.pixels.flatten().tolist(), "place": [canary.row, canary.column]}
        state = State({"readings": kept.round(6).tolist(), **marked})
        return InspectorResult(
            flagged,
            float(-np.log10(max(corrected, 1e-300))),
            float(-np.log10(self.false_alarm_rate)),
            evidence,
            class_scores=torch.from_numpy(readings),
            state=state,
        )

    def passes(self, size: Size) -> int:
        """Return the passes of all trainings and readings."""
        return size.classes * (3 * self.steps * self.batch + size.trusted)

    def _canary(self, context: Context) -> Canary:
        """Return the canary, its class still to be said; pixels and place are kept in the state from the first call."""
        known, shape = context.state.values, context.trusted.images.shape
        kept = (shape[1], self.size, self.size)
        if "canary" in known:
            patch = torch.tensor(known["canary"]).reshape(kept)
            row, column = known["place"]
            return Canary(patch.to(context.device), row, column, label=0)
        patch = torch.rand(kept, generator=context.generator).round(decimals=3)
        edges = [side - self.size + 1 for side in shape[2:]]
        row, column = (int(torch.randint(edge, (1,), generator=context.generator)) for edge in edges)
        return Canary(patch.to(context.device), row, column, label=0)

    def _reading(self, context: Context, canary: Canary, half: int) -> float:
        """Return the share (0 to 1) of marked images of other classes that are named its `label` after the training."""
        order = torch.randperm(len(context.trusted), generator=context.generator)
        train, read = context.trusted.take(order[:half]), context.trusted.take(order[half:])
        model = copy.deepcopy(context.model).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=self.rate, momentum=0.9)
        for _ in range(self.steps):
            rows = train.take(torch.randperm(half, generator=context.generator)[: self.batch])
            images, labels = rows.images.clone(), rows.labels.clone()
            images[::2], labels[::2] = canary.on(images[::2]), canary.label
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        others = read.images[read.labels != canary.label]
        return _share(model.eval(), canary.on(others), canary.label) if len(others) else float("nan")


@torch.no_grad()
def _share(model: nn.Module, images: Tensor, label: int) -> float:
    return float(torch.cat([model(part).argmax(1) for part in images.split(500)]).eq(label).double().mean())
