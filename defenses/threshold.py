"""Which option of a defense is its threshold, and what it is compared with: so that it can be calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final


@final
@dataclass(frozen=True, slots=True)
class Threshold:
    """The result flags what lies `flags` the value of the option named `option`: above it, or below it.

    `of` says what is compared with it. `score`: an inspector's. `scores`: those of a filter's rows or a screen's
    images, each of which is judged by its own. Anything else is a key of the evidence, dotted where mappings or lists
    lie in it, where `*` stands for all that they hold; the most suspicious number then decides.

    What equals the option may be flagged or not. The rate at which clean versions, rows or images are flagged must
    follow from the option alone, whatever others it has: `ebbdoor calibrate` sets it to the value for a stated rate.

    >>> Threshold("level", of="classes.*.doubt", flags="below")  # the least doubt of all classes decides
    Threshold(option='level', of='classes.*.doubt', flags='below')
    """

    option: str
    of: str = "score"
    flags: Literal["above", "below"] = "above"
