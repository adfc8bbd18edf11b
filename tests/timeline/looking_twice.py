"""Filters that are asked for a second look, with the features of the candidate."""

from __future__ import annotations

import torch

from defenses.base import Context, DoesNotApply, Filter, FilterResult, Hold, Purge, State


def _all(context: Context) -> torch.Tensor:
    assert context.window is not None
    return torch.ones(len(context.window), dtype=torch.bool)


class AskOnce(Filter):
    """Asks in period 2, once: it remembers that it has asked. It looks at ten rows, four of which it purges."""

    remembers = True

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        keep = _all(context)
        context.logits(context.window.images[:10])
        if context.period != 2 or context.state.values.get("asked"):
            return FilterResult(keep)
        rows = ~keep
        rows[:4] = True
        asked = (Purge("bad rows", rows=rows), Purge("a bad period", periods=(1,)), Hold("wait"))
        return FilterResult(keep, requests=asked, state=State({"asked": True}))


class Again(Filter):
    """Wants a second look, and keeps every row."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(_all(context), again=True)


class FirstOnly(Filter):
    """Drops three rows by the champion's features; the candidate's are of no use to it."""

    def filter(self, context: Context) -> FilterResult:
        if context.subject != "champion":
            raise DoesNotApply("no version serves yet")
        keep = _all(context)
        keep[:3] = False
        return FilterResult(keep)
