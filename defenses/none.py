"""The filter that keeps everything: the row "no defense" of a comparison."""

from __future__ import annotations

from typing import final

import torch

from defenses.base import Context, Filter, FilterResult

__all__ = ["NoDefense"]


@final
class NoDefense(Filter):
    """Keeps every row and looks at nothing."""

    def filter(self, context: Context) -> FilterResult:
        """Return a `keep` that is True throughout."""
        return FilterResult(torch.ones(len(context.window or ()), dtype=torch.bool))
