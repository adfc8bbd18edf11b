"""The readings of a lineage as verdicts may use them, and in words what is missing of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simulator.observer import derive
from simulator.observer.measures import ABSENT, spans
from simulator.observer.survival import Served
from simulator.production.registry.base import Entry
from simulator.records import PeriodRecord, Reading
from simulator.validity import evidence, invalid

NET = "backdoor/net_attack_success"
_ABSENT = Reading.undefined(ABSENT)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The committed periods of an arm, and its paced twin's by period, which may be missing."""

    records: Sequence[PeriodRecord]
    twin: Mapping[int, PeriodRecord]

    @staticmethod
    def of(lineage: Iterable[Entry], twin: Iterable[Entry] = ()) -> Evidence:
        """The evidence of an arm's entries and its paced twin's, periods in order."""
        return Evidence([entry.record for entry in lineage], {entry.record.period: entry.record for entry in twin})

    def reading(self, record: PeriodRecord, name: str) -> Reading:
        """Return a reading of one of the records; undefined, with its reason, where it is no evidence."""
        twin = self.twin.get(record.period)
        other = None if twin is None or name not in derive.NET else invalid(twin.readings)
        return evidence(name, reading_of(record, name), invalid(record.readings), other)

    def served(self) -> list[Served]:
        """Return what served after each period, with net attack success where it is evidence."""
        return [
            Served(r.period, r.version, r.judgement.action == "promoted", self.reading(r, NET).value)
            for r in self.records
        ]

    def missing(self, name: str = NET) -> str | None:
        """Return why a reading is missing: the reason alone where it is the same in all periods, else with them."""
        found: dict[str, list[int]] = {}
        for record in self.records:
            reason = self.reading(record, name).reason
            if reason is not None:
                found.setdefault(reason, []).append(record.period)
        if len(found) == 1 and len(self.records) == sum(map(len, found.values())):
            return next(iter(found))
        return "; ".join(f"{_periods(periods)}: {reason}" for reason, periods in found.items()) or None


def reading_of(record: PeriodRecord, name: str) -> Reading:
    """Return a reading of a record as it was measured; undefined, with its reason, where no probe gave it."""
    return record.readings.get(name, _ABSENT)


def _periods(numbers: Sequence[int]) -> str:
    return f"period{'s' if len(numbers) > 1 else ''} {spans(numbers)}"
