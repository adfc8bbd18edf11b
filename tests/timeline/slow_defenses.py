"""Defenses that each need a pass a trusted image, and so go beyond any smaller limit."""

from __future__ import annotations

import torch

from defenses.base import (
    Context,
    Filter,
    FilterResult,
    Inspector,
    InspectorResult,
    Repair,
    RepairResult,
    Screen,
    ScreenResult,
)


class SlowFilter(Filter):
    def filter(self, context: Context) -> FilterResult:
        context.logits(context.trusted.images)
        assert context.window is not None
        return FilterResult(torch.ones(len(context.window), dtype=torch.bool))


class SlowRepair(Repair):
    def repair(self, context: Context) -> RepairResult:
        context.logits(context.trusted.images)
        return RepairResult(context.model)


class SlowInspector(Inspector):
    def inspect(self, context: Context) -> InspectorResult:
        context.logits(context.trusted.images)
        return InspectorResult(flagged=False, score=0.0, threshold=1.0)


class SlowScreen(Screen):
    def screen(self, context: Context) -> ScreenResult:
        context.logits(context.trusted.images)
        assert context.incoming is not None
        return ScreenResult(torch.zeros(len(context.incoming), dtype=torch.bool))
