"""Clean lineages of a scenario: what a defender has who trusts his own history, with the defense only asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from simulator.calibration.control import Look
from simulator.errors import DivergedError
from simulator.loop.run import open_run, play
from simulator.production.defending.facts import DefenseFacts
from simulator.production.defending.observing import NOTED, OBSERVING
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import Outcome, PeriodRecord
from simulator.scenario.model import DefenseUse, Scenario
from simulator.scenario.overrides import validated

#: the first seed of clean lineages is the scenario's and this: no run shall be judged on what its threshold was set on
APART: Final = 10_000
_NONE: Final = {"use": "none"}


@final
@dataclass(frozen=True, slots=True)
class CleanLineage:
    """What came of one clean lineage: a look for each period in which the defense said something, by period.

    `silent`: why it said nothing in others, each reason with the number of times.
    """

    seed: int
    looks: dict[int, Look]
    silent: Counter[str]


def clean_scenario(arm: Scenario, asked: DefenseUse, facts: DefenseFacts, seed: int) -> Scenario:
    """Return the scenario of one arm without attack and campaign, and with the defense `asked` in observing position.

    It takes the place of the scenario's defense of that name, or comes last. Other defenses act as ever. Nothing is
    probed.
    """
    about = {"defense": {"use": asked.use, **asked.options}, "facts": facts.model_dump(mode="json")}
    clean = {"attack": _NONE, "campaign": _NONE, "oracle": False, "probes": [], "seed": seed}
    return validated({**arm.tree, **clean, "defenses": _placed(arm, asked.use, {"use": OBSERVING, **about})})


def play_clean(scenario: Scenario, *, processes: int | None = None) -> CleanLineage:
    """Play a clean scenario with stores in memory, and return what the defense said.

    Raises `DivergedError` where training diverges. `processes`: see `loop.run.play`.
    """
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "calibration")
    entries = play(head, scenario, registry, ledger, processes=processes)
    for end in ledger.ends():
        raise DivergedError(
            f"expected a clean lineage to train at seed {scenario.seed}, got in period {end.period}: {end.why}"
        )
    (played,) = entries.values()
    return read_looks(scenario.seed, [entry.record for entry in played])


def read_looks(seed: int, records: Sequence[PeriodRecord]) -> CleanLineage:
    """Return what the records of a clean lineage hold of the observed defense.

    Where it was asked about several models in a period, the most suspicious of them counts.
    """
    looks: dict[int, Look] = {}
    silent: Counter[str] = Counter()
    for record in records:
        outcomes = [one for one in record.outcomes if one.name == OBSERVING]
        found = [_look(one) for one in outcomes if NOTED in one.evidence]
        if found:
            looks[record.period] = max(found, key=lambda look: look.scores[0])
        else:
            silent.update(f"{one.status}: {one.reason}" for one in outcomes)
    return CleanLineage(seed, looks, silent)


def _look(outcome: Outcome) -> Look:
    said = outcome.evidence[NOTED]
    return Look(tuple(said["scores"]), said["rows"], said["flagged"])


def _placed(arm: Scenario, name: str, observing: dict[str, Any]) -> list[dict[str, Any]]:
    uses = [one.use for one in arm.defenses]
    place = uses.index(name) if name in uses else len(uses)
    others = arm.tree["defenses"]
    return [*others[:place], observing, *others[place + 1 :]]
