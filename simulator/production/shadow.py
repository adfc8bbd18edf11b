"""Shadow mode: a challenger predicts what arrives beside the champion before it may serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from simulator.production.training.evaluate import logits

__all__ = ["Shadow", "agreeing"]


@dataclass(frozen=True, slots=True)
class Shadow:
    """A challenger in shadow since it was trained in period `since`; `seen`: period -> (equal predictions, images)."""

    challenger: int
    since: int
    seen: Mapping[int, tuple[int, int]]

    def passed(self, period: int) -> int:
        """Periods in shadow, `period` included; 0 in the one it was trained in."""
        return period - self.since

    def saw(self, period: int, equal: int, images: int) -> Shadow:
        """The shadow after the predictions of a period; told again, they count once."""
        return Shadow(self.challenger, self.since, {**self.seen, period: (equal, images)})

    @property
    def agreement(self) -> float | None:
        """Share of all predictions so far in which challenger and champion name the same class; None without any."""
        images = sum(count for _, count in self.seen.values())
        return sum(equal for equal, _ in self.seen.values()) / images if images else None

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads."""
        return {**asdict(self), "seen": [[period, *counts] for period, counts in sorted(self.seen.items())]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Shadow:
        """The shadow of `to_json`."""
        seen = {period: (equal, images) for period, equal, images in values["seen"]}
        return Shadow(values["challenger"], values["since"], seen)


def agreeing(one: nn.Module, other: nn.Module, images: Tensor) -> int:
    """Return for how many of `images` float32 (N, C, H, W) the two models predict the same class."""
    return int((logits(one, images).argmax(1) == logits(other, images).argmax(1)).sum())
