"""Which pairs do not count, and why: a value is undefined, or the two base models are not equally poisoned."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.study.claims.field import Field
from simulator.study.claims.readings import at_start
from simulator.study.claims.values import SideValues, Value
from simulator.study.model import Side, Start

__all__ = ["STARTS", "left_out"]

#: tolerance of `Start` -> the reading of the base model that it is about
STARTS = {"attack_success": "backdoor/attack_success", "dose": "backdoor/trigger_ed50"}


def left_out(
    one: SideValues, other: SideValues, sides: tuple[Side, Side], start: Start | None, field: Field
) -> dict[int, str]:
    """Return the reason of each seed whose pair does not count. Both sides have the same seeds."""
    out = dict(_undefined(one, other))
    if start is not None:
        out = dict(_unequal(sides, start, field)) | out
    return dict(sorted(out.items()))


def _undefined(one: SideValues, other: SideValues) -> Iterator[tuple[int, str]]:
    for seed in one.by_seed:
        for side in (other, one):  # of two reasons the first side's stands
            reason = side.by_seed[seed].reason
            if reason is not None:
                yield seed, f"{side.name}: {reason}"


def _unequal(sides: tuple[Side, Side], start: Start, field: Field) -> Iterator[tuple[int, str]]:
    first, second = (field.at(side.setting or "") for side in sides)
    for seed in first.keys() & second.keys():
        for name, reading in STARTS.items():
            tolerance: float | None = getattr(start, name)
            if tolerance is None:
                continue
            why = _apart(at_start(first[seed], reading), at_start(second[seed], reading), tolerance)
            if why is not None:
                yield seed, f"unequal starts, {name.replace('_', ' ')}: {why}"
                break


def _apart(one: Value, other: Value, tolerance: float) -> str | None:
    if one.number is None or other.number is None:
        return f"undefined at period 0: {one.reason or other.reason}"
    # the difference of two shares that are 0.05 apart is not 0.05 to the last bit
    if abs(one.number - other.number) <= tolerance + 1e-9:
        return None
    return f"{one.number:.3f} and {other.number:.3f} at period 0 are more than {tolerance:g} apart"
