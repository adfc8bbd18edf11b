"""Labelled images as a defense sees them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled images: `images` float32 (N, C, H, W) in [0, 1], `labels` int64 (N,), on the context's device.

    Where the platform knows it: `periods` int64 (N,), the period in which each row arrived, and `fresh` bool (N,),
    whether it was never trained on before (the others are replayed).
    """

    images: Tensor
    labels: Tensor
    periods: Tensor | None = None
    fresh: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Rows:
        """Return the rows that `rows` selects, bool (N,) or int64 indices.

        >>> import torch
        >>> Rows(torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 2])).take(torch.tensor([True, False, True])).labels
        tensor([0, 2])
        """
        parts = (self.images, self.labels, self.periods, self.fresh)
        return Rows(*(None if part is None else part[rows.to(part.device)] for part in parts))  # type: ignore[arg-type]
