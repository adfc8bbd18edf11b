"""Campaigns that watch the champion, as any client could, and poison again when their backdoor goes."""

from __future__ import annotations

from typing import final

from simulator.scenario.bounds import Count, Natural, PositiveShare, Share
from simulator.world.campaign import Campaign, CampaignView


@final
class Adaptive(Campaign):
    """Poisons period `start` at `rate`, and after it each period in which its measured success is below `below`.

    It asks the champion for its predictions on at most `images` stamped images of its own (`CampaignView.success`) and
    measures the share that is called the target. `rate` in [0, 1], `below` in (0, 1]. What it measured last is
    `state["success"]`. A period in which it cannot measure is not poisoned.

    >>> import torch
    >>> champion = lambda images: torch.tensor([0, 1, 1, 1])  # class 0 is the target: success 0.25
    >>> view = CampaignView(2, query=champion, stamped=lambda count: torch.zeros(count, 1, 8, 8))
    >>> Adaptive(rate=0.1, images=4).rate(view), view.state
    (0.1, {'success': 0.25})
    >>> Adaptive(rate=0.1, images=4, below=0.2).rate(view)
    0.0
    """

    def __init__(
        self, *, rate: Share = 0.05, below: PositiveShare = 0.5, images: Count = 100, start: Natural = 0
    ) -> None:
        self._rate = self.most = rate
        self.below = below
        self.images = images
        self.start = start

    def rate(self, view: CampaignView) -> float:
        """Return the rate at its start and when its success is too low, 0 otherwise."""
        if view.period < self.start:
            return 0.0
        success = view.success(self.images)
        view.state["success"] = success
        lost = success is not None and success < self.below
        return self._rate if lost or view.period == self.start else 0.0


@final
class AfterRepair(Campaign):
    """Poisons `periods` periods from `start` on at `rate`, and as many again each time it infers a repair.

    A repair is inferred when the success that it measures, as `adaptive` does on at most `images` images of its own,
    has fallen by at least `drop` in (0, 1] since the period before: forgetting takes several periods, while a repair,
    a roll-back or a training from scratch shows at once. `state` holds the `success` measured last, how many poisoned
    periods are `left`, and how many repairs were `inferred`. While it poisons, it infers nothing.

    >>> import torch
    >>> repaired = lambda images: torch.ones(len(images))  # no image is called the target, class 0
    >>> state = {"success": 0.9, "left": 0}
    >>> view = CampaignView(5, state, query=repaired, stamped=lambda count: torch.zeros(count, 1, 8, 8))
    >>> AfterRepair(rate=0.1, images=4).rate(view), state
    (0.1, {'success': 0.0, 'left': 0, 'inferred': 1})
    """

    def __init__(
        self,
        *,
        rate: Share = 0.05,
        drop: PositiveShare = 0.3,
        images: Count = 100,
        start: Natural = 0,
        periods: Count = 1,
    ) -> None:
        self._rate = self.most = rate
        self.drop = drop
        self.images = images
        self.start = start
        self.periods = periods

    def rate(self, view: CampaignView) -> float:
        """Return the rate in the periods after its start and after a repair, 0 otherwise."""
        if view.period < self.start:
            return 0.0
        success = view.success(self.images)
        left = view.state.get("left", self.periods)
        if left == 0 and self._repaired(view.state.get("success"), success):
            left = self.periods
            view.state["inferred"] = view.state.get("inferred", 0) + 1
        view.state.update(success=success, left=max(left - 1, 0))
        return self._rate if left > 0 else 0.0

    def _repaired(self, before: float | None, now: float | None) -> bool:
        # rounded, so that a fall from 0.7 to 0.4 is one of 0.3
        return before is not None and now is not None and round(before - now, 9) >= self.drop
