"""Cached readings: the same probes read the same of the same models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from torch import Tensor

from simulator.cache.entry import CachedResult
from simulator.cache.key import device_name, third_party
from simulator.cache.store import Cache
from simulator.observer.observer import Observer
from simulator.observer.probes.base import When
from simulator.production.training.device import layout_of
from simulator.records import Reading
from simulator.scenario.model import Scenario, Use
from simulator.tensors import ModelVersion, weights_digest
from simulator.world.world import World

#: keys of a scenario that decide which images a model is tested on; the campaign decides only what it was trained on
_SHOWN = {"attack", "drift", "periods", "seed", "source", "stream", "trusted"}


@final
class CachedReadings:
    """Reads as `observer` does, or returns what the cache holds.

    Nothing is cached where a screen guards serving, since its answers do not follow from the key, nor where batches
    arrive as files, which may differ in another run.
    """

    def __init__(self, observer: Observer, scenario: Scenario, world: World, cache: Cache) -> None:
        self._observer = observer
        self._scenario = scenario
        self._world = world
        self._cache = cache

    def read(
        self,
        period: int,
        version: ModelVersion,
        *,
        when: When,
        compared: bool = False,
        screen: Callable[[Tensor], Tensor] | None = None,
        **relatives: dict[str, Tensor] | None,
    ) -> dict[str, Reading]:
        """Return what `Observer.read` does; `relatives` are weights that it takes."""
        probes, others = self._observer.uses(when, compared=compared), dict[str, Any](relatives)
        if not probes:
            return {}
        if self._cache.folder is None or screen is not None or self._scenario.stream.arrivals is not None:
            return self._observer.read(period, version.model, when=when, compared=compared, screen=screen, **others)

        def compute() -> CachedResult:
            readings = self._observer.read(period, version.model, when=when, compared=compared, **others)
            return CachedResult({name: reading.model_dump(mode="json") for name, reading in readings.items()})

        found = self._cache.lookup("readings", self._key(period, version, probes, relatives), compute).values
        return {name: Reading.model_validate(reading) for name, reading in found.items()}

    @property
    def compares(self) -> tuple[When, ...]:
        """See `Observer.compares`."""
        return self._observer.compares

    def skipped(self, when: When, reason: str) -> dict[str, Reading]:
        """See `Observer.skipped`."""
        return self._observer.skipped(when, reason)

    def _key(
        self,
        period: int,
        version: ModelVersion,
        probes: Sequence[Use],
        relatives: Mapping[str, Mapping[str, Tensor] | None],
    ) -> dict[str, Any]:
        scenario, network = self._scenario, self._scenario.recipe.network
        world = [("sources", scenario.source), ("attacks", scenario.attack), *_all("drifts", scenario.drift)]
        return {
            "model": version.digest,
            "network": network.model_dump(mode="json"),
            "layout": str(layout_of(version.model)),
            "relatives": {name: None if w is None else weights_digest(w) for name, w in relatives.items()},
            "period": period,
            "probes": [use.model_dump(mode="json") for use in probes],
            "scenario": {key: scenario.tree[key] for key in _SHOWN},
            "data": self._world.source_digest,
            "device": device_name(next(version.model.parameters()).device),
            "strangers": third_party([("networks", network), *world, *_all("probes", probes)]),
        }


def _all(kind: str, uses: Sequence[Use]) -> list[tuple[str, Use]]:
    return [(kind, use) for use in uses]
