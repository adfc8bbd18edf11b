"""Inspectors that remember. Named in tests as `remembering:Name`."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from defenses.base import Context, Inspector, InspectorResult, State


class Shows(Inspector):
    """Says what it remembers and remembers more, shows scores and triggers, and goes through the model once."""

    remembers = True

    def inspect(self, context: Context) -> InspectorResult:
        trusted, state = context.trusted, context.state
        cross_entropy(context.model(trusted.images), trusted.labels).backward()
        seen = state.tensors.get("seen", torch.zeros(2))
        evidence = {"before": [state.period, state.values.get("calls", 0), float(seen.sum())]}
        return InspectorResult(
            False,
            0.0,
            1.0,
            evidence,
            class_scores=torch.arange(context.classes),
            triggers=torch.full((context.classes, *trusted.images.shape[1:]), 0.5),
            state=State({"calls": state.values.get("calls", 0) + 1}, {"seen": seen + torch.tensor([1.0, 2.0])}),
        )


class TooMuch(Inspector):
    """Remembers more than it may."""

    remembers = True

    def inspect(self, context: Context) -> InspectorResult:
        return InspectorResult(False, 0.0, 1.0, state=State({}, {"a": torch.zeros(1_000_001)}))
