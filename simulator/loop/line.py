"""One lineage at work: world, platform and observer side by side. The only place where the three meet.

Every stage takes and returns small JSON values, so that it can be called in this process, in a worker, or as a task.
Models, images and the truth stay inside.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, final

import torch
from torch import Tensor

from defenses.base import Filter
from simulator.batch import Batch
from simulator.cache.store import NO_CACHE, Cache
from simulator.loop.attacker import AttackersTraining
from simulator.observer.cached import CachedReadings
from simulator.observer.observer import Observer
from simulator.observer.oracle import OracleFilter
from simulator.observer.probes.base import When
from simulator.production.platform import Platform
from simulator.production.training.device import choose_device, peak_memory
from simulator.production.training.evaluate import logits
from simulator.production.training.surrogate import surrogate_trainer
from simulator.records import Action, Judgement, LineageKey, Outcome, Reading, Signal
from simulator.scenario.model import AttackUse, Scenario, Use
from simulator.tensors import weights_of
from simulator.world.sources.base import SourceData
from simulator.world.world import World

__all__ = ["Line", "as_production_sees", "together"]

JSON = dict[str, Any]


@final
class Line:
    """The stages of one arm or twin. `scenario` is the arm's own, with its overrides applied.

    `memo` recalls trainings and readings.
    """

    def __init__(self, scenario: Scenario, key: LineageKey, data: SourceData, cache: Cache = NO_CACHE) -> None:
        self.key = key
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
        self._campaign: JSON = {}
        self._ancestor: int | None = None
        self._spent: dict[str, float] = {}
        self._arrived: tuple[int, Batch] | None = None
        self._again = lru_cache(maxsize=4)(lambda period: self._world.batch_again(period, self._rates[period]))
        self._trusted = lru_cache(maxsize=2)(self._world.trusted)  # this period's, and the monitor's reference
        self._platform = Platform(
            as_production_sees(scenario),
            architecture=self.architecture,
            device=self._device,
            validation=self._world.validation(),
            archive=self._archived,
            trusted=self._trusted,
            labelled=self._oracle if scenario.oracle else None,
            trainer=self._attacker if self._world.attack_trains else None,
            cache=cache,
        )
        self._observer = CachedReadings(Observer(scenario, self._world), scenario, self._world, cache)

    @property
    def architecture(self) -> JSON:
        """What rebuilds the network."""
        channels, height, width = self._world.shape
        return {
            "network": self._scenario.recipe.network.model_dump(mode="json"),
            "channels": channels,
            "size": [height, width],
            "classes": self._world.classes,
        }

    @property
    def surfaces(self) -> tuple[str, ...]:
        """The surfaces on which some defense of the scenario acts."""
        return self._platform.surfaces

    # -- stages, in order --------------------------------------------------------------------------------------------

    def ingest(self, period: int) -> JSON:
        """The world brings a batch; the campaign may have replaced rows in it."""
        query = None if self._platform.serving is None else self._query
        self._arrived = None  # the last period's images are not held beside this one's
        batch, arrival, _ = self._world.arrive(period, self._campaign, query)
        self._arrived = period, batch
        self._rates[period] = arrival.asked_rate
        self._campaign = dict(arrival.campaign_state)
        return arrival.model_dump(mode="json")

    def monitor(self, period: int) -> JSON:
        """The monitor compares the batch with the reference."""
        return self._platform.monitor(period, self._archived(period)).model_dump(mode="json")

    def decide(self, period: int, signal: JSON) -> JSON:
        """The policy says whether to retrain."""
        return self._platform.decide(period, Signal.model_validate(signal)).model_dump(mode="json")

    def filter(self, period: int, subject: Literal["champion", "candidate"]) -> JSON:
        """The filters look at the window."""
        dropped, again, outcomes = self._platform.filter(period, subject)
        return {"dropped": dropped, "again": again, "outcomes": _dump(outcomes)}

    def train(self, period: int) -> JSON:
        """The champion is fine-tuned on the window."""
        return self._platform.train(period)

    def repair(self, period: int) -> JSON:
        """The repairs change the candidate."""
        return {"outcomes": _dump(self._platform.repair(period))}

    def inspect(self, period: int, subject: Literal["champion", "candidate", "challenger"]) -> JSON:
        """The inspectors judge a model."""
        return {"outcomes": _dump(self._platform.inspect(period, subject))}

    def judge(self, period: int, outcomes: list[JSON]) -> JSON:
        """The gate judges the candidate."""
        return self._platform.judge(period, _load(outcomes)).model_dump(mode="json")

    def settle(self, period: int, signal: JSON, judgement: JSON) -> JSON:
        """Carry out a judgement; the first version that serves and was trained on poison is the poisoned ancestor."""
        judged = Judgement.model_validate(judgement)
        self._platform.settle(period, Signal.model_validate(signal), judged)
        poisoned = any(self._rates[trained] > 0 for trained in self._platform.trained)
        if self._ancestor is None and poisoned and judged.action == "promoted":
            self._ancestor = judged.serving
        return {}

    def probe(
        self,
        period: int,
        ordinal: int,
        when: When,
        compared: bool = False,
        tensors: Mapping[str, Tensor] | None = None,
    ) -> JSON:
        """Read a version that is at hand, with and without the screens.

        `compared`: by the probes that compare it with the paced twin's version, whose weights are `tensors` (none at
        all where there is no such twin).
        """
        platform = self._platform
        model = platform.model(ordinal)
        screened: list[Outcome] = []

        def screen(images: Tensor) -> Tensor:
            flagged, outcomes = platform.screen(period, model, images)
            screened.extend(outcomes)
            return flagged

        readings = self._observer.read(
            period,
            model,
            when=when,
            parent=self._weights(platform.parent(ordinal)),
            ancestor=self._weights(self._ancestor),
            control=dict(tensors) if tensors else None,
            compared=compared,
            screen=screen if "screen" in platform.surfaces else None,
        )
        return {"readings": _dump_readings(readings), "outcomes": _dump(together(screened))}

    def compares(self) -> JSON:
        """When some probe compares a version with the paced twin's."""
        return {"when": list(self._observer.compares)}

    def unread(self, when: When, reason: str) -> JSON:
        """The readings that are not taken now, with the reason."""
        return {"readings": _dump_readings(self._observer.skipped(when, reason))}

    def ahead(self) -> JSON:
        """Train the base of a line that nobody attacks, and read it, so that the memo has both when period 0 asks.

        Before the first period. What a defense would change of the base is not read. Returns each stage's seconds.
        """
        campaign, began = self._campaign, time.perf_counter()
        self.ingest(0)
        self._campaign, arrived = campaign, time.perf_counter()
        base = self._platform.base()
        trained = time.perf_counter()
        if not self.surfaces:
            self._observer.read(0, base, when="every", parent=None, ancestor=None, control=None)
        return {"ingest": arrived - began, "train": trained - arrived, "probe": time.perf_counter() - trained}

    # -- for the registry, the ledger and a fresh process --------------------------------------------------------------

    def weights(self, ordinal: int) -> tuple[JSON, dict[str, Tensor]]:
        """A version's weights, on the CPU; `ordinal` -1 is the candidate."""
        model = self._platform.candidate if ordinal < 0 else self._platform.model(ordinal)
        return {"architecture": self.architecture}, weights_of(model)

    def close_period(self) -> JSON:
        """Let go of what nothing needs and return what a fresh process needs, with the champion's digest."""
        self._platform.tidy({self._ancestor} if self._ancestor is not None else set())
        serving = self._platform.serving
        assert serving is not None
        total = self._platform.defense_seconds
        spent = {name: seconds - self._spent.get(name, 0.0) for name, seconds in total.items()}
        self._spent = total
        return {
            "weights": self._platform.digest(serving),
            "defense_seconds": spent,
            "device_memory": peak_memory(self._device),
            "state": {
                "platform": self._platform.state(),
                "campaign": self._campaign,
                "rates": [[period, rate] for period, rate in sorted(self._rates.items())],
                "ancestor": self._ancestor,
            },
        }

    def restore(self, state: JSON, tensors: Mapping[str, Tensor]) -> JSON:
        """Continue from a committed `state`; `tensors` are the kept versions' weights, named `ORDINAL/PARAMETER`."""
        self._rates = dict(state["rates"])
        self._campaign = dict(state["campaign"])
        self._ancestor = state["ancestor"]
        self._platform.restore(state["platform"], _by_ordinal(tensors))
        return {}

    def act(self, action: JSON, tensors: Mapping[str, Tensor]) -> JSON:
        """Do what was done from outside; `tensors` are the weights it needs beside the kept ones, named as above.

        The platform is not told the numbers that it rests on: they may be the observer's readings.
        """
        self._platform.act(Action.model_validate({**action, "numbers": {}}), _by_ordinal(tensors))
        return {}

    def close(self) -> None:
        """End the processes this line started."""
        self._platform.close()

    def _query(self, images: Tensor) -> Tensor:
        """The champion's predictions, as any client could ask for them."""
        return logits(self._platform.champion, images.to(self._device)).argmax(1)

    def _archived(self, period: int) -> Batch:
        """A period's batch: the one that has just arrived as it is, an earlier one made again, bit for bit."""
        return self._arrived[1] if self._arrived and self._arrived[0] == period else self._again(period)

    def _oracle(self, origin: Tensor) -> dict[str, Filter]:
        return {"oracle": OracleFilter(self._roles(origin))}

    def _attacker(self, origin: Tensor, fresh: Tensor) -> AttackersTraining | None:
        """The attacker in place of the platform, where some of the new rows are of a period that it poisons."""
        if not any(self._rates[period] > 0 for period in origin[fresh, 0].unique().tolist()):
            return None
        return AttackersTraining(self._world.attack, self._scenario.attack, self._roles(origin))

    def _roles(self, origin: Tensor) -> Tensor:
        roles = {period: self._world.roles(period, self._rates[period]) for period in origin[:, 0].unique().tolist()}
        return torch.stack([roles[period][row] for period, row in origin.tolist()])

    def _weights(self, ordinal: int | None) -> dict[str, Tensor] | None:
        return None if ordinal is None else weights_of(self._platform.model(ordinal))


def as_production_sees(scenario: Scenario) -> Scenario:
    """The scenario without what only the world and the observer know."""
    unknown = {"attack": AttackUse(use="none"), "campaign": Use(use="none"), "drift": (), "probes": ()}
    return scenario.model_copy(update=unknown)


def together(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """One outcome a screen for all that it was shown: the worst status with its reason, costs added."""
    worst = ("failed", "flagged", "changed", "skipped", "passed")
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        other = found.get(outcome.name, outcome)
        cost = {name: outcome.cost.get(name, 0) + other.cost.get(name, 0) for name in {*outcome.cost, *other.cost}}
        telling = min(other, outcome, key=lambda one: worst.index(one.status))
        found[outcome.name] = outcome if other is outcome else telling.model_copy(update={"cost": cost})
    return tuple(found.values())


def _dump(outcomes: tuple[Outcome, ...]) -> list[JSON]:
    return [outcome.model_dump(mode="json") for outcome in outcomes]


def _by_ordinal(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    weights: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        ordinal, _, parameter = name.partition("/")
        weights.setdefault(int(ordinal), {})[parameter] = value
    return weights


def _load(outcomes: list[JSON]) -> tuple[Outcome, ...]:
    return tuple(Outcome.model_validate(outcome) for outcome in outcomes)


def _dump_readings(readings: Mapping[str, Reading]) -> JSON:
    return {name: reading.model_dump(mode="json") for name, reading in sorted(readings.items())}
