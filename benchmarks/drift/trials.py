"""The trials: scores of drifted batches, and alarms of undrifted ones, for one champion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.drift.champion import Champion
from simulator.production.monitors.base import Monitor
from simulator.production.monitors.evidently import Evidently
from simulator.production.monitors.mmd import Mmd
from simulator.records import Signal
from simulator.seeds import generator
from simulator.world.drift import Brightness, Contrast, Drift, Hue, LabelPrior, NoDrift, Noise, Rotation

#: each kind of drift with its magnitudes, in its own unit
KINDS: dict[str, tuple[Drift, tuple[float, ...]]] = {
    "rotation": (Rotation(), (2.0, 5.0, 10.0, 20.0, 30.0)),
    "brightness": (Brightness(), (0.02, 0.05, 0.1, 0.2)),
    "contrast": (Contrast(), (-0.1, -0.2, -0.4, -0.6)),
    "noise": (Noise(), (0.02, 0.05, 0.1, 0.2)),
    "hue": (Hue(), (10.0, 20.0, 45.0, 90.0)),
    "label-prior": (LabelPrior(), (0.1, 0.2, 0.3, 0.5)),
}
#: on the champion's features, which are computed once
ON_FEATURES: dict[str, Monitor] = {"evidently": Evidently(), "mmd": Mmd()}
COLUMNS = "evidently, columns"
#: what undrifted periods pass through
UNDRIFTED: dict[str, tuple[Drift, float]] = {
    "none": (NoDrift(), 0.0),
    "rotation of 0°": (Rotation(), 0.0),
    "rotation of 0.01°": (Rotation(), 0.01),
}

Trial = tuple[str, Callable[[], list[dict[str, Any]]]]


def trials(champion: Champion, draws: int, periods: int, references: int, per_reference: int) -> Iterator[Trial]:
    """Yield what to measure, one name and one call for each part; a call returns its results."""
    for kind, (drift, magnitudes) in KINDS.items():
        if kind == "hue" and champion.images.shape[1] != 3:
            continue
        for magnitude in (0.0, *magnitudes):
            yield f"{kind} {magnitude:g}", partial(_scored, champion, kind, drift, magnitude, draws)
    for name, (drift, magnitude) in UNDRIFTED.items() if periods else ():
        yield f"undrifted, {name}", partial(_undrifted, champion, name, drift, magnitude, periods)
    if references:
        yield "by reference", partial(_by_reference, champion, references, per_reference)


def _scored(champion: Champion, kind: str, drift: Drift, magnitude: float, draws: int) -> list[dict[str, Any]]:
    before, after = (champion.features(champion.drifted(drift, moved, 0)) for moved in (0.0, magnitude))
    rows = [(seed, *champion.draw(drift, magnitude, seed)) for seed in range(draws)]
    common = {"part": "scores", "kind": kind, "magnitude": magnitude, "periods": draws}
    found = []
    for name, monitor in ON_FEATURES.items():
        signals = [monitor.observe(champion.view(before[one], after[two], seed)) for seed, one, two in rows]
        kinds = Counter(signal.detail["kind"] for signal in signals if "kind" in signal.detail)
        scores = [signal.score for signal in signals]
        found.append({**common, "monitor": name, "scores": scores, "alarms": _alarms(signals), "kinds": dict(kinds)})
    return found


def _undrifted(champion: Champion, name: str, drift: Drift, magnitude: float, periods: int) -> list[dict[str, Any]]:
    """Reference and batch are drawn anew for every period; the same rows whatever they pass through."""
    images = [champion.drifted(drift, moved, number) for number, moved in enumerate((0.0, magnitude))]
    if drift.resamples is False:
        images[1] = images[0]
    features = [champion.features(side) for side in images]
    rows = [champion.draw(NoDrift(), 0.0, 10**6 + period) for period in range(periods)]
    pairs: dict[str, tuple[Monitor, list[Tensor]]] = {
        monitor: (made, features) for monitor, made in ON_FEATURES.items()
    }
    if name == "none":
        pairs[COLUMNS] = (Evidently(method="columns"), images)
    common = {"part": "undrifted", "through": name, "periods": periods}
    return [
        {**common, "monitor": monitor, "alarms": _alarms(_signals(champion, made, sides, rows))}
        for monitor, (made, sides) in pairs.items()
    ]


def _by_reference(champion: Champion, references: int, periods: int) -> list[dict[str, Any]]:
    """Count the alarms of undrifted batches that are all compared with one reference, as in a run."""
    features = champion.features(champion.drifted(NoDrift(), 0.0, 0))
    counts: dict[str, list[int]] = {name: [] for name in ON_FEATURES}
    for number in range(references):
        random = generator(number, "reference")
        order = torch.randperm(len(features), generator=random)
        first, rest = order[: champion.sizes.reference], order[champion.sizes.reference :]
        rows = [(first, champion.batch(rest, NoDrift(), 0.0, random)) for _ in range(periods)]
        for name, monitor in ON_FEATURES.items():
            counts[name].append(_alarms(_signals(champion, monitor, [features, features], rows)))
    return [
        {"part": "references", "monitor": name, "alarms": found, "periods": periods} for name, found in counts.items()
    ]


def _signals(
    champion: Champion, monitor: Monitor, sides: list[Tensor], rows: list[tuple[Tensor, Tensor]]
) -> list[Signal]:
    return [
        monitor.observe(champion.view(sides[0][first], sides[1][second], seed))
        for seed, (first, second) in enumerate(rows)
    ]


def _alarms(signals: list[Signal]) -> int:
    return sum(signal.alarm for signal in signals)
