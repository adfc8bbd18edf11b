"""The filter that keeps everything: the row "no defense" of a comparison."""

from __future__ import annotations

from typing import final

import torch

from defenses.base import Context, Filter, FilterResult


@final
class NoDefense(Filter):
    """Keeps every row and looks at nothing; it has no threshold.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> rows = Rows(torch.rand(3, 1, 4, 4), torch.arange(3))
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), feature_layer="1", classes=3,
    ...     device=torch.device("cpu"), trusted=rows, generator=torch.Generator(), window=rows,
    ... )
    >>> NoDefense().filter(context).keep.tolist()
    [True, True, True]
    """

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(torch.ones(len(context.window or ()), dtype=torch.bool))
