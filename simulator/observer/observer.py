"""What is true of a version: the probes, run with the world's ground truth at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, final

from torch import Tensor, nn

from simulator import catalog
from simulator.batch import Batch
from simulator.observer.probes.base import Probe, ProbeView, Relearner
from simulator.production.training.fit import fit
from simulator.records import Reading
from simulator.scenario.model import Phase, Recipe, Scenario, Use
from simulator.seeds import seed_for
from simulator.world.world import World

__all__ = ["Observer"]

#: read of every version, whatever the scenario lists
ALWAYS = (Use(use="clean-accuracy"), Use(use="weight-distance"))

#: rows of one step when re-learning: all weights move, whatever the scenario's recipe freezes
RELEARNING_BATCH = 32


@final
class Observer:
    """Runs a scenario's probes on a model in a period of the world."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        listed = {use.use for use in scenario.probes}
        self._uses = (*(use for use in ALWAYS if use.use not in listed), *scenario.probes)
        self._probes: tuple[Probe, ...] = tuple(catalog.build("probes", use.use, use.options) for use in self._uses)
        self._scenario = scenario
        self._world = world

    def read(
        self,
        period: int,
        model: nn.Module,
        *,
        when: Literal["every", "milestones"],
        parent: dict[str, Tensor] | None = None,
        ancestor: dict[str, Tensor] | None = None,
        screen: Callable[[Tensor], Tensor] | None = None,
    ) -> dict[str, Reading]:
        """Return the readings of the probes that run `when`; at `milestones` only the costly ones."""
        world = self._world
        view = ProbeView(
            model=model,
            test=world.test(period),
            classes=world.classes,
            stamped=(lambda opacity: world.stamped(period, opacity=opacity)) if world.has_attack else None,
            target=world.target,
            sources=world.sources,
            prior=world.prior(period),
            parent=parent,
            ancestor=ancestor,
            screen=screen,
            relearn=self._relearner(period) if world.has_attack else None,
        )
        return {
            name: reading
            for probe in self._probes
            if probe.when == when
            for name, reading in probe.measure(view).items()
        }

    def uses(self, when: Literal["every", "milestones"]) -> tuple[Use, ...]:
        """The probes that run `when`, as the scenario names them."""
        return tuple(use for use, probe in zip(self._uses, self._probes, strict=True) if probe.when == when)

    def skipped(self, when: Literal["every", "milestones"], reason: str) -> dict[str, Reading]:
        """The readings of the probes that run `when`, all undefined for one `reason`."""
        return {name: Reading.undefined(reason) for probe in self._probes if probe.when == when for name in probe.gives}

    def _relearner(self, period: int) -> Relearner:
        world, scenario = self._world, self._scenario

        def fine_tune(model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float) -> nn.Module:
            schedule = Use.model_validate({"use": "constant", "rate": rate})
            phase = Phase(epochs=epochs, batch=RELEARNING_BATCH, schedule=schedule)
            seed = seed_for(scenario.seed, "relearning", period, draw)
            return fit(model, batch, phase, Recipe(), seed=seed, update=False).model

        return Relearner(
            pool=lambda draw, poisoned, unrelated: world.relearning(period, draw, poisoned, unrelated),
            stamped=lambda unrelated: world.stamped(period, unrelated=unrelated),
            fine_tune=fine_tune,
        )
