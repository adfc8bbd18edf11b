"""Defenses whose scores can be worked out by hand from the records of a run."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Interval

from defenses.base import Context, DoesNotApply, Filter, FilterResult, Inspector, InspectorResult, Threshold


class Norm(Inspector):
    """Flags a model whose last layer is long."""

    threshold_option = Threshold("longest")

    def __init__(self, *, longest: Annotated[float, Ge(0)] = 0.001) -> None:
        self.longest = longest

    def inspect(self, context: Context) -> InspectorResult:
        score = float(context.model.state_dict()[f"{context.feature_layer}.weight"].norm())
        return InspectorResult(score > self.longest, score, self.longest)


class Dark(Filter):
    """Drops dark images of fresh rows."""

    threshold_option = Threshold("least", of="scores", flags="below")

    def __init__(self, *, least: float = 1.0) -> None:
        self.least = least

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        light = context.window.images.flatten(1).mean(1).cpu()
        return FilterResult(light >= self.least, light)


class Bounded(Inspector):
    """Has a threshold of at most 1, and scores above it."""

    threshold_option = Threshold("limit")

    def __init__(self, *, limit: Annotated[float, Interval(ge=0, le=1)] = 1.0) -> None:
        self.limit = limit

    def inspect(self, context: Context) -> InspectorResult:
        return InspectorResult(True, 2.0, self.limit)


class NeverApplies(Inspector):
    """Never has anything to work on."""

    threshold_option = Threshold("limit")

    def __init__(self, *, limit: float = 1.0) -> None:
        self.limit = limit

    def inspect(self, context: Context) -> InspectorResult:
        raise DoesNotApply("the moon is wrong")


class SeveralRules(Filter):
    """Has a threshold, and drops rows by another rule."""

    threshold_option = Threshold("limit", of="worst")

    def __init__(self, *, limit: float = 1.0) -> None:
        self.limit = limit

    def filter(self, context: Context) -> FilterResult:
        keep = torch.ones(len(context.window or ()), dtype=torch.bool)
        keep[0] = False
        return FilterResult(keep, evidence={"worst": 0.25})
