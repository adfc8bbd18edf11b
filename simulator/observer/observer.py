"""The probes of a scenario, run on a version with the ground truth of the world."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from torch import Tensor, nn

from simulator.batch import Batch
from simulator.observer.probes.base import Probe, ProbeView, Relearner, When
from simulator.production.training.fit import fit, watch
from simulator.records import Reading
from simulator.scenario import catalog
from simulator.scenario.model import Phase, Recipe, Scenario, Use
from simulator.seeds import seed_for
from simulator.world.world import World

#: probes that run on every version, also when the scenario does not list them
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
        when: When,
        parent: dict[str, Tensor] | None = None,
        ancestor: dict[str, Tensor] | None = None,
        control: dict[str, Tensor] | None = None,
        compared: bool = False,
        screen: Callable[[Tensor], Tensor] | None = None,
    ) -> dict[str, Reading]:
        """Return the readings of the probes that run `when`; at `milestones` only the costly ones.

        With `compared` those of the probes that compare with the paced twin's version, whose weights are `control`
        (None: there is no such twin); without it those of all others. Raises `PluginError` when a probe has changed
        the test images.
        """
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
            control=control,
            seed=seed_for(self._scenario.seed, "probes", period),
            screen=screen,
            relearn=self._relearner(period) if world.has_attack else None,
        )
        readings = {
            name: reading
            for probe in self._probes
            if probe.when == when and probe.needs_control == compared
            for name, reading in probe.measure(view).items()
        }
        world.test(period)  # raises where a probe has changed its images
        return readings

    def uses(self, when: When, *, compared: bool = False) -> tuple[Use, ...]:
        """The probes that `read` runs, as the scenario names them."""
        both = zip(self._uses, self._probes, strict=True)
        return tuple(use for use, probe in both if probe.when == when and probe.needs_control == compared)

    @property
    def compares(self) -> tuple[When, ...]:
        """When some probe compares with the paced twin's version."""
        return tuple(sorted({probe.when for probe in self._probes if probe.needs_control}))

    def skipped(self, when: When, reason: str) -> dict[str, Reading]:
        """The readings of the probes that run `when`, all undefined for one `reason`."""
        return {name: Reading.undefined(reason) for probe in self._probes if probe.when == when for name in probe.gives}

    def _relearner(self, period: int) -> Relearner:
        world, scenario = self._world, self._scenario

        def phase(epochs: int, rate: float) -> Phase:
            schedule = Use.model_validate({"use": "constant", "rate": rate})
            return Phase(epochs=epochs, batch=RELEARNING_BATCH, schedule=schedule)

        def seed(draw: int) -> int:
            return seed_for(scenario.seed, "relearning", period, draw)

        def fine_tune(model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float) -> nn.Module:
            return fit(model, batch, phase(epochs, rate), Recipe(), seed=seed(draw), update=False).model

        def watched(
            model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float, look: Callable[[nn.Module], bool]
        ) -> nn.Module:
            return watch(model, batch, phase(epochs, rate), Recipe(), seed=seed(draw), look=look)

        return Relearner(
            pool=lambda draw, poisoned, unrelated: world.relearning(period, draw, poisoned, unrelated),
            stamped=lambda unrelated: world.stamped(period, unrelated=unrelated),
            fine_tune=fine_tune,
            watch=watched,
        )
