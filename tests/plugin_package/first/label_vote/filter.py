"""Keep the rows whose label the model finds likely."""

from __future__ import annotations

from typing import final

from defenses.base import Context, DoesNotApply, Filter, FilterResult


@final
class LabelVote(Filter):
    """Keeps rows whose label has at least the probability `least`, in [0, 1], and always the likeliest row."""

    def __init__(self, *, least: float = 0.01) -> None:
        if not 0 <= least <= 1:
            raise ValueError(f"expected least to be in [0, 1], got {least}; choose a probability")
        self.least = least

    def filter(self, context: Context) -> FilterResult:
        """Return which labels the model can believe; score: one minus the label's probability."""
        if context.window is None:
            raise DoesNotApply("there is no window")
        shares = context.logits(context.window.images).softmax(1)
        believed = shares.gather(1, context.window.labels[:, None])[:, 0]
        keep = (believed >= self.least) | (believed == believed.max())
        return FilterResult(keep, scores=1 - believed, evidence={"dropped": int((~keep).sum())})
