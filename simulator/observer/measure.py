"""What is known of one measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Measure"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement.

    `key` is its name in `periods.jsonl`, `reading` its name as a reading (None for what is not a reading of a version).
    `higher_is_better` is the defender's view; None where neither end is good. `bounds` are the possible lowest and
    highest value, None where there is no bound. `absent` is the reason given when a version has no such reading.
    """

    key: str
    label: str
    definition: str
    reading: str | None = None
    higher_is_better: bool | None = None
    bounds: tuple[float | None, float | None] = (0.0, 1.0)
    unit: Literal[
        "share", "difference", "opacity", "logits", "ratio", "score", "flag", "seconds", "images", "steps"
    ] = "share"
    absent: str = "no probe of this scenario measures it"
