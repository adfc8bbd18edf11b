"""One lineage at work: world, platform and observer side by side. The only place where the three meet.

Every method takes and returns records; models, images and the truth stay inside. `loop/executors.py` runs them, in this
process or in a worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, final

import torch
from torch import Tensor

from defenses.base import Filter
from simulator.batch import Batch
from simulator.cache.store import NO_CACHE, Cache
from simulator.loop.attacker import AttackersTraining
from simulator.loop.screening import Screening, together
from simulator.loop.seen_classes import SeenClasses
from simulator.observer.observer import Observer
from simulator.observer.oracle import OracleFilter
from simulator.observer.probes.base import When
from simulator.production.platform import Platform
from simulator.production.training.device import choose_device, peak_memory
from simulator.production.training.evaluate import logits
from simulator.production.training.surrogate import surrogate_trainer
from simulator.records import (
    Action,
    Arrival,
    Decision,
    Filtered,
    Judgement,
    LineageFacts,
    LineageKey,
    Outcome,
    PastRecord,
    PeriodEnd,
    Probed,
    Reading,
    Signal,
    Subject,
    Updated,
)
from simulator.scenario.model import AttackUse, Scenario, Use
from simulator.system.instructions import instruction_sets
from simulator.tensors import ModelVersion
from simulator.world.sources.base import SourceData
from simulator.world.world import World

JSON = dict[str, Any]
Weights = dict[str, Tensor]


@final
class Lineage:
    """The stages of one arm or twin. `scenario` is the arm's own, with its overrides applied.

    `cache` holds trainings and readings that were computed before.
    """

    def __init__(self, scenario: Scenario, key: LineageKey, data: SourceData, cache: Cache = NO_CACHE) -> None:
        self._scenario = scenario
        self._device = choose_device(scenario.device)
        self._world = World.build(
            scenario,
            data,
            attacked=key.control == "none",
            device=self._device,
            teach=surrogate_trainer(scenario, data.classes, cache),
        )
        self._rates: dict[int, float] = {}
        self._seen = SeenClasses()
        self._campaign: JSON = {}
        self._ancestor: int | None = None
        self._spent: dict[str, float] = {}
        self._arrived: tuple[int, tuple[Batch, Tensor]] | None = None
        self._again = lru_cache(maxsize=4)(lambda period: self._world.again(period, self._rates[period]))
        self._trusted = lru_cache(maxsize=2)(self._world.trusted)  # this period's, and the monitor's reference
        self._platform = Platform(
            as_production_sees(scenario),
            architecture=self._architecture(),
            device=self._device,
            validation=self._world.validation(),
            archive=lambda period: self._batch(period)[0],
            trusted=self._trusted,
            labelled=self._oracle if scenario.oracle else None,
            trainer=self._attacker if self._world.attack_trains else None,
            cache=cache,
            follows=key.control == "paced",
        )
        self._observer = Observer(scenario, self._world, cache)

    def facts(self) -> LineageFacts:
        """What never changes: what rebuilds the network, where defenses act, when a probe compares with the twin."""
        return LineageFacts(
            architecture=self._architecture(),
            surfaces=self._platform.surfaces,
            compares=self._observer.compares,
            looks_back=self._platform.past.asked,
            at_promotion=self._platform.defenders.at_promotion,
        )

    # -- the stages of a period, in order ------------------------------------------------------------------------------

    def ingest(self, period: int) -> Arrival:
        """World: a batch arrives; the campaign may have replaced rows in it."""
        query = None if self._platform.serving is None else self._query
        self._arrived = None  # the last period's images are not held beside this one's
        batch, arrival, roles = self._world.arrive(period, self._campaign, query)
        self._arrived = period, (batch, roles)
        self._rates[period] = arrival.asked_rate
        self._seen.arrived(period, batch.labels)
        self._campaign = dict(arrival.campaign_state)
        return arrival

    def monitor(self, period: int) -> Signal:
        """Production: the monitor compares the batch with the reference."""
        return self._platform.monitor(period, self._batch(period)[0])

    def decide(self, period: int, signal: Signal) -> Decision:
        """Production: the policy says whether to retrain."""
        return self._platform.decide(period, signal)

    def retrain_by(self, recipe: JSON) -> None:
        """Production: the update of this period differs from the recipe, as a defense has asked."""
        self._platform.retrain_by(recipe)

    def filter(self, period: int, subject: Subject) -> Filtered:
        """Production: the filters look at the window."""
        return self._platform.filter(period, subject)

    def train(self, period: int) -> Updated:
        """Production: the champion is fine-tuned on the window, by the platform or a defense."""
        return self._platform.train(period)

    def repair(self, period: int) -> tuple[Outcome, ...]:
        """Production: the repairs change the candidate."""
        return self._platform.repair(period)

    def inspect(self, period: int, subject: Subject, at_promotion: bool = False) -> tuple[Outcome, ...]:
        """Production: the inspectors judge a model; those that look before a promotion only, or all others."""
        return self._platform.inspect(period, subject, at_promotion)

    def gate(self, period: int, outcomes: tuple[Outcome, ...]) -> Judgement:
        """Production: candidate, champion and ancestors are scored on the same images and judged."""
        return self._platform.gate(period, outcomes)

    def apply(self, period: int, signal: Signal, judgement: Judgement) -> None:
        """Production: carry out a judgement. The first promoted version trained on poison is the poisoned ancestor."""
        self._platform.apply(period, signal, judgement)
        poisoned = any(self._rates[trained] > 0 for trained in self._platform.trained)
        if self._ancestor is None and poisoned and judgement.action == "promoted":
            self._ancestor = judgement.serving

    def probe(
        self, period: int, ordinal: int, when: When, compared: bool = False, control: Weights | None = None
    ) -> Probed:
        """Observer: read a version that is in memory, with and without the screens.

        `compared`: by the probes that compare it with the paced twin's version of weights `control` (None: there is no
        such twin); else by all others.
        """
        version = self._platform.version(ordinal)
        screens = Screening(lambda images: self._platform.screen(period, ordinal, images))
        readings = self._observer.read(
            period,
            version,
            when=when,
            compared=compared,
            screens=screens if "screen" in self._platform.surfaces else None,
            parent=self._weights(self._platform.parent(ordinal)),
            ancestor=self._weights(self._ancestor),
            control=control,
            seen=self._seen.after(self._platform.trained),
        )
        return Probed(readings=readings, outcomes=together(screens.outcomes))

    def unread(self, when: When, reason: str) -> dict[str, Reading]:
        """Observer: the readings that are not taken now, with the reason."""
        return self._observer.skipped(when, reason)

    # -- before, between and after periods -----------------------------------------------------------------------------

    def ahead(self) -> dict[str, float]:
        """Train and read the base of a lineage that is not attacked, so that the cache has both when period 0 asks.

        Before the first period. What a defense would change of the base is not read. Returns each stage's seconds.
        """
        campaign, began = self._campaign, time.perf_counter()
        self.ingest(0)
        self._campaign, arrived = campaign, time.perf_counter()
        base = ModelVersion(self._platform.base())
        trained = time.perf_counter()
        if not self._platform.surfaces:
            seen = self._seen.after([0])
            self._observer.read(0, base, when="every", parent=None, ancestor=None, control=None, seen=seen)
        return {"ingest": arrived - began, "train": trained - arrived, "probe": time.perf_counter() - trained}

    def candidate(self) -> Weights:
        """The weights of the model trained in this period, on the CPU."""
        return self._platform.candidate.weights

    def weights(self, ordinal: int) -> Weights:
        """The weights of a version in memory, on the CPU."""
        return self._platform.version(ordinal).weights

    def close_period(self) -> PeriodEnd:
        """Free what is not needed any more, and return what a fresh process needs, with the champion's digest."""
        digest = self._platform.champion.digest  # before its weights are freed
        self._platform.tidy({self._ancestor} if self._ancestor is not None else set())
        total = dict(self._platform.defenders.seconds_by_name)
        spent = {name: seconds - self._spent.get(name, 0.0) for name, seconds in total.items()}
        self._spent = total
        return PeriodEnd(
            weights=digest,
            defense_seconds=spent,
            defense_notes=self._platform.defenders.notes,
            device_memory=peak_memory(self._device),
            replay=self._platform.pool.change(),
            instruction_sets=instruction_sets(),
            state={
                "platform": self._platform.state(),
                "campaign": self._campaign,
                "rates": [[period, rate] for period, rate in sorted(self._rates.items())],
                "ancestor": self._ancestor,
                "seen": self._seen.state(),
            },
        )

    def remember(self, record: PastRecord) -> list[int]:
        """Take note of a committed period, for defenses that look back; return the versions that they miss."""
        self._platform.past.committed(record)
        return self._platform.missing()

    def hand(self, weights: dict[int, Weights]) -> None:
        """Hold the versions of these weights, by ordinal, for defenses that look back."""
        self._platform.hand(weights)

    def restore(self, state: JSON, weights: dict[int, Weights], past: list[PastRecord]) -> list[int]:
        """Continue from a committed `state`; `weights` are those of the versions it kept, by ordinal.

        `past` are the committed periods, where some defense looks back. Returns the versions that defenses miss.
        """
        self._rates = dict(state["rates"])
        self._campaign = dict(state["campaign"])
        self._ancestor = state["ancestor"]
        self._seen.restore(state.get("seen"))
        self._platform.restore(state["platform"], weights, past)
        return self._platform.missing()

    def act(self, action: Action, weights: dict[int, Weights]) -> list[int]:
        """Carry out an operator's action; `weights` are those it needs of versions that are not in memory.

        The platform is not told the numbers that it rests on: they may be the observer's readings. Returns the versions
        that defenses miss then.
        """
        self._platform.act(action.model_copy(update={"numbers": {}}), weights)
        return self._platform.missing()

    def close(self) -> None:
        """End the processes that this lineage started."""
        self._platform.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _architecture(self) -> JSON:
        channels, height, width = self._world.shape
        return {
            "network": self._scenario.recipe.network.model_dump(mode="json"),
            "channels": channels,
            "size": [height, width],
            "classes": self._world.classes,
        }

    def _query(self, images: Tensor) -> Tensor:
        """The champion's predictions, as any client could ask for them."""
        return logits(self._platform.champion.model, images.to(self._device)).argmax(1)

    def _batch(self, period: int) -> tuple[Batch, Tensor]:
        """A period's batch and each row's role: what has just arrived, or an earlier one made again bit for bit."""
        return self._arrived[1] if self._arrived and self._arrived[0] == period else self._again(period)

    def _oracle(self, origin: Tensor) -> dict[str, Filter]:
        return {"oracle": OracleFilter(self._roles(origin))}

    def _attacker(self, origin: Tensor, fresh: Tensor) -> AttackersTraining | None:
        """The attacker in place of the platform, where some of the new rows are of a period that it poisons."""
        if not any(self._rates[period] > 0 for period in origin[fresh, 0].unique().tolist()):
            return None
        return AttackersTraining(self._world.attack, self._scenario.attack, self._roles(origin))

    def _roles(self, origin: Tensor) -> Tensor:
        """The role int8 (N,) of each row of a window, on the CPU."""
        found = torch.empty(len(origin), dtype=torch.int8)
        for period in origin[:, 0].unique().tolist():
            rows = origin[:, 0] == period
            found[rows] = self._batch(period)[1].cpu()[origin[rows, 1]]
        return found

    def _weights(self, ordinal: int | None) -> Weights | None:
        return None if ordinal is None else self._platform.version(ordinal).weights


#: method name -> method: what a worker process may be asked to run
REMOTE: dict[str, Callable[..., Any]] = {
    method.__name__: method
    for method in (
        Lineage.facts, Lineage.ingest, Lineage.monitor, Lineage.decide, Lineage.filter, Lineage.train, Lineage.repair,
        Lineage.inspect, Lineage.gate, Lineage.apply, Lineage.probe, Lineage.unread, Lineage.ahead, Lineage.candidate,
        Lineage.weights, Lineage.close_period, Lineage.remember, Lineage.restore, Lineage.act, Lineage.retrain_by,
        Lineage.hand,
    )
}  # fmt: skip


def as_production_sees(scenario: Scenario) -> Scenario:
    """The scenario without what only the world and the observer know."""
    unknown = {"attack": AttackUse(use="none"), "campaign": Use(use="none"), "drift": (), "probes": ()}
    return scenario.model_copy(update=unknown)
