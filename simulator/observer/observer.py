"""The probes of a scenario, run on a version with the ground truth of the world; what they read is cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from torch import Tensor, nn

from simulator.batch import Batch
from simulator.cache.entry import CachedResult
from simulator.cache.key import device_name
from simulator.cache.store import Cache
from simulator.errors import DivergedError
from simulator.observer.measuring import measured_by
from simulator.observer.probes.base import Probe, ProbeView, Relearner, Screens, When
from simulator.production.training.device import layout_of
from simulator.production.training.fit import fit, watch
from simulator.records import Reading
from simulator.scenario import catalog
from simulator.scenario.identity import third_party
from simulator.scenario.model import Phase, Recipe, Scenario, Use
from simulator.seeds import seed_for
from simulator.tensors import ModelVersion, weights_digest
from simulator.world.world import World

#: probes that run on every version, also when the scenario does not list them
ALWAYS = (Use(use="clean-accuracy"), Use(use="weight-distance"))

#: rows of one step when re-learning: all weights move, whatever the scenario's recipe freezes
RELEARNING_BATCH = 32

#: keys of a scenario that decide which images a model is tested on; the campaign decides only what it was trained on
_SHOWN = {"attack", "drift", "periods", "seed", "source", "stream", "trusted"}

Relatives = Mapping[str, dict[str, Tensor] | None]


@final
class Observer:
    """Runs a scenario's probes on a version in a period of the world, or returns what the `cache` holds.

    Nothing is cached where a screen guards serving, since its answers do not follow from the key, nor where batches
    arrive as files, which may differ in another run.
    """

    def __init__(self, scenario: Scenario, world: World, cache: Cache | None = None) -> None:
        listed = {use.use for use in scenario.probes}
        self._uses = (*(use for use in ALWAYS if use.use not in listed), *scenario.probes)
        self._probes: tuple[Probe, ...] = tuple(catalog.build("probes", use.use, use.options) for use in self._uses)
        self._scenario = scenario
        self._world = world
        self._cache = cache

    def read(
        self,
        period: int,
        version: ModelVersion,
        *,
        when: When,
        parent: dict[str, Tensor] | None = None,
        ancestor: dict[str, Tensor] | None = None,
        control: dict[str, Tensor] | None = None,
        compared: bool = False,
        screens: Screens | None = None,
        seen: tuple[int, ...] | None = None,
    ) -> dict[str, Reading]:
        """Return the readings of the probes that run `when`; at `milestones` only the costly ones.

        With `compared` those of the probes that compare with the paced twin's version, whose weights are `control`
        (None: there is no such twin); without it those of all others. `seen` are the classes trained on so far, None
        where they are not known. Raises `PluginError` when a probe has changed the test images or the model.
        """
        both = zip(self._uses, self._probes, strict=True)
        probes = [(use, probe) for use, probe in both if probe.when == when and probe.needs_control == compared]
        relatives = {"parent": parent, "ancestor": ancestor, "control": control}

        def measured() -> dict[str, Reading]:
            view = self._view(period, version.model, screens, relatives, seen)
            readings = {name: one for use, probe in probes for name, one in measured_by(use, probe, view).items()}
            self._world.test(period)  # raises where a probe has changed its images
            version.expect_unchanged()
            return readings

        def compute() -> CachedResult:
            return CachedResult({name: reading.model_dump(mode="json") for name, reading in measured().items()})

        if not probes:
            return {}
        cache = self._cache
        if cache is None or cache.folder is None or screens is not None or self._scenario.stream.arrivals is not None:
            return measured()
        key = {**self._key(period, version, [use for use, _ in probes], relatives), "seen": seen}
        found = cache.lookup("readings", key, compute).values
        return {name: Reading.model_validate(reading) for name, reading in found.items()}

    @property
    def compares(self) -> tuple[When, ...]:
        """When some probe compares with the paced twin's version."""
        return tuple(sorted({probe.when for probe in self._probes if probe.needs_control}))

    def skipped(self, when: When, reason: str) -> dict[str, Reading]:
        """The readings of the probes that run `when`, all undefined for one `reason`."""
        return {name: Reading.undefined(reason) for probe in self._probes if probe.when == when for name in probe.gives}

    def _view(
        self,
        period: int,
        model: nn.Module,
        screens: Screens | None,
        relatives: Relatives,
        seen: tuple[int, ...] | None,
    ) -> ProbeView:
        world = self._world
        return ProbeView(
            model=model,
            test=world.test(period),
            classes=world.classes,
            stamped=(lambda opacity: world.stamped(period, opacity=opacity)) if world.has_attack else None,
            target=world.target,
            sources=world.sources,
            targets=world.targets,
            prior=world.prior(period),
            parent=relatives["parent"],
            ancestor=relatives["ancestor"],
            control=relatives["control"],
            seen=seen,
            seed=seed_for(self._scenario.seed, "probes", period),
            screen=None if screens is None else screens.refused,
            answers=None if screens is None else screens.answers,
            relearn=self._relearner(period) if world.has_attack else None,
        )

    def _key(self, period: int, version: ModelVersion, probes: Sequence[Use], relatives: Relatives) -> dict[str, Any]:
        scenario, network = self._scenario, self._scenario.recipe.network
        world = [
            ("sources", scenario.source),
            ("attacks", scenario.attack),
            *(("drifts", use) for use in scenario.drift),
        ]
        return {
            "model": version.digest,
            "network": network.model_dump(mode="json"),
            "layout": str(layout_of(version.model)),
            "relatives": {name: None if w is None else weights_digest(w) for name, w in relatives.items()},
            "period": period,
            "probes": [use.model_dump(mode="json") for use in probes],
            "scenario": {key: scenario.tree[key] for key in _SHOWN},
            "data": self._world.source_digest,
            **({"attack_content": self._world.attack_content} if self._world.attack_content else {}),
            "device": device_name(next(version.model.parameters()).device),
            "third_party": third_party([("networks", network), *world, *(("probes", use) for use in probes)]),
        }

    def _relearner(self, period: int) -> Relearner:
        world, scenario = self._world, self._scenario

        def phase(epochs: int, rate: float) -> Phase:
            schedule = Use.model_validate({"use": "constant", "rate": rate})
            return Phase(epochs=epochs, batch=RELEARNING_BATCH, schedule=schedule)

        def seed(draw: int) -> int:
            return seed_for(scenario.seed, "relearning", period, draw)

        def fine_tune(model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float) -> nn.Module:
            try:
                return fit(model, batch, phase(epochs, rate), Recipe(), seed=seed(draw), update=False).model
            except DivergedError:  # the copy as it diverged: what is read of it is undefined, and the arm goes on
                return watched(model, batch, draw, epochs, rate, lambda _: False)

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
