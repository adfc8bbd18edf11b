"""Drop rows that look like another class than the one they are labelled with."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge

from defenses.base import Context, DoesNotApply, Filter, FilterResult


@final
class NearAnotherClass(Filter):
    """Keeps a row unless its features lie `margin` times nearer to another class's trusted mean than to its own."""

    needs_trusted = True

    def __init__(self, *, margin: Annotated[float, Ge(1)] = 1.5) -> None:
        self.margin = margin

    def filter(self, context: Context) -> FilterResult:
        """Return which rows to keep; score: distance to the own mean over that to the nearest other."""
        if context.window is None or len(context.trusted.labels.unique()) < context.classes:
            raise DoesNotApply("there is no window, or some class has no trusted image")
        features, labels = context.features(context.trusted.images), context.trusted.labels
        means = torch.stack([features[labels == one].mean(0) for one in range(context.classes)])
        away = torch.cdist(context.features(context.window.images), means)
        own = away.gather(1, context.window.labels[:, None])[:, 0]
        other = away.scatter(1, context.window.labels[:, None], torch.inf).min(1).values
        scores = own / other.clamp(min=1e-9)
        return FilterResult(scores <= self.margin, scores)
