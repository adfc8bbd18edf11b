"""Images in memory: one immutable value, carried with the ids of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as production sees them: no role, no trigger, no truth about drift.

    `images` is float32 (N, C, H, W) in [0, 1]; `labels` int64 (N,); `ids` int64 (N,), unique rows of the source.
    All three lie on the same device and have the same length.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.ids):
            sizes = (len(self.images), len(self.labels), len(self.ids))
            raise ValueError(f"expected images, labels and ids to have one length, got {sizes}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Tensor) -> Batch:
        """Return the rows at the positions `rows` (int64) or where the mask `rows` (bool) holds."""
        return Batch(self.images[rows], self.labels[rows], self.ids[rows])
