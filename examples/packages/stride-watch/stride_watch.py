"""Hold an update that moves the weights much further than the updates before it did."""

from __future__ import annotations

from statistics import median
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from defenses.base import Context, DoesNotApply, Hold, Inspector, InspectorResult, State


@final
class StrideWatch(Inspector):
    """Flags a candidate that moved more than `factor` times the median of the moves before, and asks to hold it.

    It remembers the last 50 moves, and judges when it knows `least` of them. A move that it flags is not remembered.
    """

    calibration = "earlier versions"
    versions_back = 1  # the champion, whatever was trained and rejected since
    remembers = True
    after_rollback = "keep"

    def __init__(self, *, factor: Annotated[float, Gt(1)] = 3.0, least: Annotated[int, Ge(1)] = 3) -> None:
        self.factor, self.least = factor, least

    def inspect(self, context: Context) -> InspectorResult:
        """Return how far the candidate moved, as a share of the length of the champion's weights."""
        line = context.history.lineage()  # the champion, from which the candidate was trained, and its ancestors
        if context.subject != "candidate" or not line or line[0].load is None:
            raise DoesNotApply("the model is no candidate, or the version before it is not at hand")
        before = weights_of(line[0].model())
        moved = float((weights_of(context.model) - before).norm() / before.norm())
        moves = list(context.state.values.get("moves", []))
        limit = self.factor * median(moves) if len(moves) >= self.least else moved
        flagged = moved > limit
        asked = (Hold(f"it moved {moved:.3g}, usual are at most {limit:.3g}"),) if flagged else ()
        moves = moves if flagged else [*moves, moved][-50:]
        evidence, state = {"known": len(moves)}, State({"moves": moves})
        return InspectorResult(flagged, moved, limit, evidence, requests=asked, state=state)


def weights_of(model: nn.Module) -> Tensor:
    """Return all parameters as one vector, on the CPU."""
    return torch.cat([value.detach().flatten().cpu().float() for value in model.parameters()])
