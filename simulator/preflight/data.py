"""What a run tells of its data before it trains, and keeps: images, classes, and which classes have no test rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from simulator.errors import SourceError
from simulator.scenario.model import Scenario
from simulator.world.sampling import class_counts
from simulator.world.sources.base import SourceData
from simulator.world.sources.facts import image_facts
from simulator.world.stream import Stream

#: periods of a source in its order in time whose test rows are counted, from all over the run
_COUNTED = 40
#: fewer test rows of a class are told: every class weighs the same in attack success
FEW = 5
#: classes that a sentence names
_NAMED = 8


def data_facts(scenario: Scenario, data: SourceData) -> dict[str, Any]:
    """Return the facts as JSON values: `lines` for people, `warnings` among them, and the numbers.

    `test_rows` are those of the whole test part, by class.
    """
    images, by_period = image_facts(data), _test_rows(scenario, data)
    names = [data.name_of(label) for label in range(data.classes)]
    warnings = [*images.warnings, *_thin_classes(by_period, names)]
    channels, height, width = data.shape
    told = (
        f"data: {len(data.labels)} train and {len(data.test_labels)} test images of {height} x {width} x {channels}, "
        f"{data.classes} classes{_called(data)}; {images}"
    )
    return {
        "lines": [told, *(f"warning: {warning}" for warning in warnings)],
        "warnings": warnings,
        "shape": [channels, height, width],
        "classes": names,
        "train_rows": _train_rows(data).tolist(),
        "test_rows": class_counts(torch.from_numpy(data.test_labels), data.classes).tolist(),
        "images": asdict(images),
    }


def _train_rows(data: SourceData) -> Tensor:
    return class_counts(torch.from_numpy(data.labels), data.classes)


def _called(data: SourceData) -> str:
    """Return the classes' names, where they are not simply their numbers."""
    if not data.class_names or list(data.class_names) == [str(place) for place in range(data.classes)]:
        return ""
    return f" ({_list(list(data.class_names))})"


def _test_rows(scenario: Scenario, data: SourceData) -> dict[int, Tensor]:
    """Return the test rows of each class by period; of the first alone where all periods have the same."""
    labels = torch.from_numpy(data.test_labels)
    try:
        stream = Stream(data, scenario.model_copy(update={"periods": 0}), lambda period: None)
        if data.time is not None and scenario.stream.arrivals is None:
            stream = Stream(data, scenario, lambda period: None)
    except SourceError:  # a label prior may ask for less than the source's own mix
        return {0: class_counts(labels, data.classes)}
    timed = data.time is not None and scenario.stream.arrivals is None
    step = 1 + scenario.periods // _COUNTED
    periods = range(0, scenario.periods + 1, step) if timed else range(1)
    return {period: class_counts(labels[stream.test(period)], data.classes) for period in periods}


def _thin_classes(by_period: dict[int, Tensor], names: list[str]) -> list[str]:
    """Say which classes have no test row, or few, in which period, and what that does to the readings."""
    found: dict[tuple[str, str], list[int]] = {}
    for period, counts in by_period.items():
        absent = [name for name, count in zip(names, counts.tolist(), strict=True) if count == 0]
        few = [f"{name} ({count})" for name, count in zip(names, counts.tolist(), strict=True) if 0 < count < FEW]
        for which, group in (("none", absent), ("few", few)):
            if group:
                found.setdefault((which, _list(group)), []).append(period)
    return [_thin(which, group, periods, len(by_period)) for (which, group), periods in found.items()]


def _thin(which: str, group: str, periods: list[int], counted: int) -> str:
    when = "" if counted == 1 or len(periods) == counted else f" in period {_list([str(each) for each in periods])}"
    if which == "none":
        return f"no test row of class {group}{when}: accuracy and attack success are read over the other classes alone"
    return (
        f"fewer than {FEW} test rows of class {group}{when}: it weighs as much in attack success as every other class, "
        "so that a row changes it much"
    )


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"{more} more"] if more > 0 else [])])
