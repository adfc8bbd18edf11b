"""When the costly probes run: in a period that the erasure of an arm's backdoor may begin with, and in its last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator.observer.derive import NO_TWIN
from simulator.observer.erasure import may_begin_erasure
from simulator.observer.survival import THRESHOLDS
from simulator.records import PeriodRecord, Reading
from simulator.validity import invalid


def is_milestone(past: Sequence[PeriodRecord], readings: Mapping[str, Reading], period: int, last: int) -> bool:
    """Whether an erasure of the arm's backdoor, the first one, may begin with this period; or it is the last one.

    Whether it does is known one period later (`simulator.observer.erasure`), when its version may serve no more. So the
    readings are taken each time that net attack success falls below 0.5, until an erasure is certain. Without a twin
    the raw one decides. A period without a reading, or one whose readings are no evidence (`simulator.validity`), may
    have been either.
    """
    if period == last:
        return True
    found = [*(_success(record.readings) for record in past), _success(readings)]
    return may_begin_erasure([None if value is None else value >= THRESHOLDS[0] for value in found])


def _success(readings: Mapping[str, Reading]) -> float | None:
    if invalid(readings) is not None:
        return None
    net = readings.get("backdoor/net_attack_success")
    raw = readings.get("backdoor/attack_success")
    if net is not None and net.reason != NO_TWIN:  # the twin's reading may be missing: the raw one is no substitute
        return net.value
    return raw.value if raw is not None else None
