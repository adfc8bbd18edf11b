"""Scheduled forgetting sweep: every few versions, ask for one update at a rate that erases what nothing repeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, final

from annotated_types import Ge, Interval

from defenses.base import Context, Inspector, InspectorResult, Retrain, Size, State


@final
@dataclass(frozen=True, kw_only=True)
class ForgettingSweep(Inspector):
    """Asks, every `every` periods, that the next update be trained with a slanted-triangular schedule of a high peak.

    Ours, after the observation that such schedules speed up the forgetting of backdoors ("On the Permanence of
    Backdoors in Evolving Models", Li et al., arXiv 2206.04677). It never flags a model. The scenario must grant
    `retrain`. It has no threshold.

    Options: `every` periods; `peak` learning rate; `epochs` of that update (None: the recipe's).

    What no update repeats fades, whether or not it was found; a backdoor that is poisoned anew does not. Costs no pass.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows, State
    >>> rows = Rows(torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long))
    >>> def context(period, state):
    ...     return Context(model=nn.Linear(1, 1), feature_layer="", classes=2, device=torch.device("cpu"), trusted=rows,
    ...                    generator=torch.Generator(), period=period, state=state)
    >>> first = ForgettingSweep(every=3).inspect(context(3, State()))
    >>> first.requests[0].recipe
    {'schedule': {'use': 'slanted-triangular', 'peak': 0.3}}
    >>> len(ForgettingSweep(every=3).inspect(context(4, first.state)).requests)
    0
    """

    remembers = True

    every: Annotated[int, Ge(1)] = 4
    peak: Annotated[float, Interval(gt=0, le=10)] = 0.3
    epochs: Annotated[int, Ge(1)] | None = None

    def inspect(self, context: Context) -> InspectorResult:
        """Return no flag; score: periods since the last sweep."""
        since = context.period - int(context.state.values.get("asked", 0))
        evidence = {"periods_since": since}
        if since < self.every:
            return InspectorResult(False, float(since), float(self.every), evidence, state=context.state)
        recipe: dict[str, Any] = {"schedule": {"use": "slanted-triangular", "peak": self.peak}}
        if self.epochs is not None:
            recipe["epochs"] = self.epochs
        asked = Retrain(f"{since} periods since the last sweep", recipe)
        state = State({"asked": context.period})
        return InspectorResult(False, float(since), float(self.every), evidence, requests=(asked,), state=state)

    def passes(self, size: Size) -> int:
        """Return none."""
        return 0
