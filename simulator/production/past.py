"""What a production line remembers of earlier periods, and what of it goes to a defense that looks back.

Committed periods are remembered by what their records say, so that a resumed run knows what an undisturbed one does.
Nothing is remembered, measured or kept where no defense looks back.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from simulator.batch import Batch
from simulator.production.defending.facts import DefenseFacts
from simulator.production.defending.history import (
    BATCH,
    VERSION,
    HistoryFacts,
    OutcomeFacts,
    SignalFacts,
    VersionFacts,
    as_blob,
)
from simulator.production.state import PlatformState
from simulator.production.training.evaluate import accuracy
from simulator.records import PastRecord, Signal
from simulator.scenario.model import Scenario
from simulator.tensors import ModelVersion

#: outcome's subject -> the version that it is about, by field of a `PastRecord`
_ABOUT = {
    "window": "candidate", "candidate": "candidate", "challenger": "judged", "champion": "champion",
    "serving": "version",
}  # fmt: skip


@final
class Past:
    """What of earlier periods is at hand for defenses; `archive(period)` is the platform's own store of batches."""

    def __init__(
        self,
        defenses: Iterable[DefenseFacts],
        archive: Callable[[int], Batch],
        scenario: Scenario,
        purged: Callable[[], Container[int]],
    ) -> None:
        """`defenses` are the scenario's; `purged()` says which periods' rows are gone for good."""
        facts = tuple(defenses)
        self.asked = any(one.looks_back for one in facts)
        self._versions_back = max((one.versions_back for one in facts), default=0)
        self._periods_back = max((one.periods_back for one in facts), default=0)
        self._archive, self._delay, self._purged = archive, scenario.stream.label_delay, purged
        self._from_scratch = scenario.recipe.start == "scratch"
        self._records: list[PastRecord] = []
        self._signals: dict[int, Signal] = {}
        self._accuracies: dict[int, float] = {}
        self._batches: dict[int, Batch] = {}

    # -- what is remembered ------------------------------------------------------------------------------------------

    def signalled(self, period: int, signal: Signal) -> None:
        """Take note of what the monitor says in this period."""
        self._signals[period] = signal

    def trained(self, ordinal: int, version: ModelVersion, trusted: Batch) -> None:
        """Measure a version on the trusted images of the period in which it was trained."""
        if self.asked and len(trusted):
            self._accuracies[ordinal] = accuracy(version.model, trusted)

    def committed(self, record: PastRecord) -> None:
        """Take note of a committed period."""
        self._records.append(record)
        self._signals[record.period] = record.signal

    def kept(self, state: PlatformState) -> set[int]:
        """Return the versions that must be at hand: the latest, as far back as some defense looks."""
        return _latest(state, self._versions_back)

    def tidy(self, period: int) -> None:
        """Let go of batches that no later period looks back to."""
        reach = self._arrived(period + 1)[-self._periods_back :] if self._periods_back else []
        self._batches = {one: batch for one, batch in self._batches.items() if one in reach}

    def state(self) -> dict[str, Any]:
        """Return what a fresh process needs beside the committed records, as JSON values."""
        return {"accuracies": [list(one) for one in sorted(self._accuracies.items())]} if self._accuracies else {}

    def restore(self, state: Mapping[str, Any], records: Sequence[PastRecord]) -> None:
        """Continue from a platform's state and what the committed records say."""
        self._accuracies = dict(state.get("accuracies", ()))
        self._records, self._signals, self._batches = [], {}, {}
        for record in records:
            self.committed(record)

    # -- what a defense is shown -------------------------------------------------------------------------------------

    def shown(
        self, facts: DefenseFacts, state: PlatformState, versions: Mapping[int, ModelVersion], period: int
    ) -> tuple[HistoryFacts, dict[str, Tensor]]:
        """Return the history for a defense of `facts`, and blobs of the versions and batches that it may load.

        `versions` are those in memory.
        """
        arrived = self._arrived(period)
        blobs = {
            f"{VERSION}{ordinal}": as_blob(versions[ordinal].weights)
            for ordinal in sorted(_latest(state, facts.versions_back))
            if ordinal in versions
        }
        reach = arrived[-facts.periods_back :] if facts.periods_back else []
        blobs |= {f"{BATCH}{earlier}": self._batch(earlier, state) for earlier in reach}
        return self._facts(state, arrived), blobs

    def _facts(self, state: PlatformState, arrived: list[int]) -> HistoryFacts:
        served: dict[int, list[int]] = {}
        said: dict[int, list[OutcomeFacts]] = {}
        for record in self._records:
            served.setdefault(record.version, []).append(record.period)
            for outcome in record.outcomes:
                said.setdefault(getattr(record, _ABOUT[outcome.subject]), []).append(OutcomeFacts.of(outcome))
        versions = tuple(
            VersionFacts(
                ordinal=ordinal,
                parent=None if self._from_scratch else parent,
                period=state.trained_in(ordinal),
                served=tuple(served.get(ordinal, ())),
                trusted_accuracy=self._accuracies.get(ordinal),
                outcomes=tuple(said.get(ordinal, ())),
            )
            for ordinal, parent in sorted(state.parents.items())
        )
        signals = tuple(_signal(period, signal) for period, signal in sorted(self._signals.items()))
        return HistoryFacts(versions=versions, batches=tuple(arrived), signals=signals, champion=state.champion)

    def _arrived(self, period: int) -> list[int]:
        """The periods before this one whose labels have arrived; the base's arrive at once."""
        return [earlier for earlier in range(period) if earlier == 0 or earlier <= period - self._delay]

    def _batch(self, period: int, state: PlatformState) -> Tensor:
        """What arrived in `period`, without the rows that were dropped or purged since."""
        if period not in self._batches:
            self._batches[period] = self._archive(period)
        batch = self._batches[period]
        keep = torch.full((len(batch),), period not in self._purged())
        keep[torch.tensor(state.dropped.get(period, []), dtype=torch.long)] = False
        rows = batch.take(keep.to(batch.ids.device))
        count = (len(rows),)
        periods, fresh = torch.full(count, period), torch.full(count, period not in state.trained)
        return as_blob({"images": rows.images, "labels": rows.labels, "periods": periods, "fresh": fresh})


def _latest(state: PlatformState, count: int) -> set[int]:
    return set(range(max(0, state.next_ordinal - count), state.next_ordinal))


def _signal(period: int, signal: Signal) -> SignalFacts:
    fields = {name: getattr(signal, name) for name in ("score", "threshold", "p_value", "alarm", "kind")}
    return SignalFacts(period=period, **fields)
