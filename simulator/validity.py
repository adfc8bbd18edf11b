"""Which readings a verdict can rest on: pure functions over the readings of one version.

A version that has collapsed, or that is no better than chance, classifies nothing. How it answers stamped images is
then no evidence of a backdoor and none against one, whatever the number.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.records import Reading

COLLAPSED = "backdoor/collapsed"
BETTER_THAN_CHANCE = "clean/better_than_chance"

_GROUP = "backdoor/"


def why_invalid(collapsed: float | None, better_than_chance: float | None) -> str | None:
    """Return why a version has no verdict, None where nothing speaks against it. None of a flag is not known."""
    if collapsed:
        return "the model predicts one class for nearly everything"
    return "the model is no better than chance on its test images" if better_than_chance == 0 else None


def invalid(readings: Mapping[str, Reading]) -> str | None:
    """Return why the version with these `readings` has no verdict, None where nothing speaks against it."""
    flags = (readings.get(name) for name in (COLLAPSED, BETTER_THAN_CHANCE))
    return why_invalid(*(None if flag is None else flag.value for flag in flags))


def evidence(name: str, reading: Reading, own: str | None, twin: str | None = None) -> Reading:
    """Return `reading`, called `name`, as a verdict may use it: undefined where it is a backdoor's and invalid.

    `own` is why the version is invalid, `twin` why the paced twin's is, where that is subtracted.
    """
    if reading.value is None or name == COLLAPSED or not name.startswith(_GROUP):
        return reading
    if own is None and twin is None:
        return reading
    return Reading.undefined(own or f"the twin has no verdict: {twin}")
