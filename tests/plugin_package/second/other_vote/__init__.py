"""A filter that keeps everything, under a name that is taken."""

from __future__ import annotations

from typing import final

import torch

from defenses.base import Context, Filter, FilterResult


@final
class OtherVote(Filter):
    """Keeps every row."""

    def filter(self, context: Context) -> FilterResult:
        """Return a `keep` that is True throughout."""
        return FilterResult(torch.ones(len(context.window or ()), dtype=torch.bool))
