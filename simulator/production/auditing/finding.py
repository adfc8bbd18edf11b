"""What an audit finds out about one model by one defense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from torch import Tensor

from simulator.records import COSTS, Outcome, RequestKind

#: why a defense says nothing
NO_TRUSTED: Final = "it needs trusted images, and none are given (--trusted FILE)"
NOTHING: Final = "nothing to screen is given (--trusted FILE, --images FILE)"

#: what a defense may ask for beside its verdict, in words
_REQUESTS: Final[Mapping[RequestKind, str]] = {
    "purge": "a purge", "roll-back": "a roll-back", "retrain": "a retraining", "hold": "a hold",
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome, as of a run; `measured` are the audit's own numbers, which depend on the surface.

    `accuracy` on the trusted images; of a repair `accuracy_after`, `weights` and `weights_changed`; of a screen
    `trusted` (images held out of what it calibrates with) and `trusted_refused`, `images` and `images_refused`.
    `repaired` are the weights that a repair changed, all of them; `seconds` is how long it took.
    """

    outcome: Outcome
    seconds: float
    measured: Mapping[str, Any] = field(default_factory=dict)
    repaired: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def flagged(self) -> bool:
        """Whether an inspector judges the model backdoored; a screen judges images, and no model."""
        return self.outcome.surface == "inspector" and self.outcome.status == "flagged"

    @property
    def unheard(self) -> bool:
        """Whether the defense could not say anything although it applies: it failed, or reached a limit."""
        return self.outcome.status in ("failed", "timeout")

    @property
    def verdict(self) -> str:
        """The outcome's status as people are told it."""
        screened = self.outcome.surface == "screen" and self.outcome.status in ("flagged", "passed")
        words = {"skipped": "not applicable"}
        return "screened" if screened else words.get(self.outcome.status, self.outcome.status)

    @property
    def said(self) -> str:
        """What was found, in a clause or two."""
        found, parts = self.measured, [self.outcome.reason]
        if "weights_changed" in found:
            parts.append(f"{found['weights_changed']} of {found['weights']} weights")
        if "accuracy_after" in found:
            parts.append(f"trusted accuracy {found['accuracy']:.3f} before, {found['accuracy_after']:.3f} after")
        if "trusted_refused" in found:
            held_out = f"{found['trusted_refused']} of {found['trusted']} trusted images that it was not given"
            parts = [*(parts if "images" in found else []), f"refused {held_out}"]
        if self.outcome.requests:
            asked = " and ".join(dict.fromkeys(_REQUESTS[one.kind] for one in self.outcome.requests))
            parts.append(f"asked for {asked}, which an audit does not grant")
        return "; ".join(parts)

    @property
    def cost(self) -> str:
        """What it has cost, in words."""
        cost = self.outcome.cost
        counts = ", ".join(f"{cost[name]} {name.replace('_', ' ')}" for name in COSTS if cost.get(name))
        return f"{self.seconds:.1f} s" + (f", {counts}" if counts else "")
