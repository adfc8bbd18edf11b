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
    of_a_defender,
)
from simulator.production.lineage import reach
from simulator.production.state import PlatformState
from simulator.production.training.evaluate import accuracy
from simulator.records import PastRecord, Signal
from simulator.scenario.model import Scenario
from simulator.tensors import ModelVersion

#: outcome's subject -> the version that it is about, by field of a `PastRecord`
_ABOUT = {"window": "candidate", "candidate": "candidate", "challenger": "judged", "champion": "champion"}


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
        """Take note of a committed period, but not of what only the world and the observer know of it."""
        self._records.append(record.model_copy(update={"outcomes": of_a_defender(record.outcomes)}))
        self._signals[record.period] = record.signal

    def kept(self, state: PlatformState) -> set[int]:
        """Return the versions that must be at hand, as far back as some defense looks."""
        return reach(state.parents, state.champion, self._versions_back)

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
        self,
        facts: DefenseFacts,
        state: PlatformState,
        versions: Mapping[int, ModelVersion],
        period: int,
        serving: int | None = None,
    ) -> tuple[HistoryFacts, dict[str, Tensor]]:
        """Return the history for a defense of `facts`, and blobs of the versions and batches that it may load.

        `versions` are those in memory. `serving`: the version that is taken for the champion; None: the one that is.
        """
        champion = state.champion if serving is None else serving
        near = reach(state.parents, champion, facts.versions_back)
        blobs = {f"{VERSION}{one}": as_blob(versions[one].weights) for one in sorted(near) if one in versions}
        arrived = self._arrived(period)
        back = arrived[-facts.periods_back :] if facts.periods_back else []
        blobs |= {f"{BATCH}{earlier}": self._batch(earlier, state) for earlier in back}
        outcomes = self._outcomes(near, state, since=period - max(facts.versions_back, facts.periods_back))
        signals = tuple(_signal(earlier, signal) for earlier, signal in sorted(self._signals.items()))
        told = self._versions(state, outcomes)
        return HistoryFacts(versions=told, batches=tuple(arrived), signals=signals, champion=champion), blobs

    def _outcomes(self, near: Container[int], state: PlatformState, since: int) -> dict[int, list[OutcomeFacts]]:
        """Return what was said of the versions `near`: when they were trained, and from the period `since` on."""
        found: dict[int, list[OutcomeFacts]] = {}
        for record in self._records:
            for outcome in record.outcomes:
                about = getattr(record, _ABOUT[outcome.subject])
                if about in near and (record.period >= since or state.trained_in(about) == record.period):
                    found.setdefault(about, []).append(OutcomeFacts.of(outcome))
        return found

    def _versions(
        self, state: PlatformState, outcomes: Mapping[int, Sequence[OutcomeFacts]]
    ) -> tuple[VersionFacts, ...]:
        served: dict[int, list[int]] = {}
        for record in self._records:
            served.setdefault(record.version, []).append(record.period)
        return tuple(
            VersionFacts(
                ordinal=ordinal,
                parent=None if self._from_scratch else parent,
                period=state.trained_in(ordinal),
                served=tuple(served.get(ordinal, ())),
                trusted_accuracy=self._accuracies.get(ordinal),
                outcomes=tuple(outcomes.get(ordinal, ())),
            )
            for ordinal, parent in sorted(state.parents.items())
        )

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


def _signal(period: int, signal: Signal) -> SignalFacts:
    fields = {name: getattr(signal, name) for name in ("score", "threshold", "p_value", "alarm", "kind")}
    return SignalFacts(period=period, **fields)
