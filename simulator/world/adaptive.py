"""Campaigns that watch the champion, as any client could, and poison again when their backdoor goes."""

from __future__ import annotations

from typing import final

from simulator.world.campaign import Campaign, CampaignView, check_count, check_period, check_rate

__all__ = ["Adaptive", "AfterRepair"]


@final
class Adaptive(Campaign):
    """Poisons period `start` at `rate`, and after it each period in which its measured success is below `below`.

    It asks the champion for its predictions on at most `images` stamped images of its own (`CampaignView.success`): the
    share that is called the target. `below` in (0, 1]. What it measured last is `state["success"]`. A period in which
    it cannot measure is not poisoned.
    """

    def __init__(self, *, rate: float = 0.05, below: float = 0.5, images: int = 100, start: int = 0) -> None:
        self._rate = self.most = check_rate("rate", rate)
        self.below = _level("below", below)
        self.images = check_count("images", images)
        self.start = check_period("start", start)

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
    has fallen by at least `drop` in (0, 1] since the period before: forgetting takes its time, while a repair, a
    roll-back or a training from scratch shows at once. `state` holds the `success` it measured last, the poisoned
    periods that are `left`, and how many repairs it has `inferred`. While it poisons, it infers nothing.
    """

    def __init__(
        self, *, rate: float = 0.05, drop: float = 0.3, images: int = 100, start: int = 0, periods: int = 1
    ) -> None:
        self._rate = self.most = check_rate("rate", rate)
        self.drop = _level("drop", drop)
        self.images = check_count("images", images)
        self.start = check_period("start", start)
        self.periods = check_count("periods", periods)

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


def _level(name: str, value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"expected {name} to be a share in (0, 1], got {value}; correct it")
    return value
