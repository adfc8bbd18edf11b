"""Checks, before anything is trained, whether an attack can be carried out on the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from simulator.errors import ScenarioError, SourceError
from simulator.scenario.model import Scenario
from simulator.world.attacks.base import Attack
from simulator.world.batches import Rows
from simulator.world.campaign import Campaign, NoCampaign
from simulator.world.sampling import class_counts
from simulator.world.sources.base import SourceData


def check_classes(owner: str, attack: Attack, data: SourceData) -> None:
    """Raise `SourceError` when a class that the attack names has no train rows, or a source class no test rows.

    A source can have classes without rows, as one whose other classes come later.
    """
    train = class_counts(torch.from_numpy(data.labels), data.classes)
    test = class_counts(torch.from_numpy(data.test_labels), data.classes)
    for role, labels in attack.named_classes().items():
        parts = {"train": train, "test": test} if role == "source" else {"train": train}
        for part, counts in parts.items():
            for label in labels:
                if not counts[label]:
                    name = data.name_of(label)
                    there = ", ".join(data.name_of(known) for known in counts.nonzero().flatten().tolist())
                    raise SourceError(
                        f"{owner}: expected {part} rows of its {role} class {name} in {data.name}, got none; "
                        f"choose one of the classes that it has rows of: {there}"
                    )


def check_campaign(scenario: Scenario, attack: Attack, campaign: Campaign) -> None:
    """Raise `ScenarioError` when the campaign watches for one target and the attack has one for each class."""
    if attack.targets is not None and campaign.adaptive and not isinstance(campaign, NoCampaign):
        raise ScenarioError(
            f"expected a campaign that does not measure its success with attack '{scenario.attack.use}', whose target "
            f"depends on the class, got '{scenario.campaign.use}'; choose another campaign, or another attack"
        )


def tightest(attack: Attack, rates: Mapping[int, float], rows_of: Callable[[int], Rows]) -> set[int]:
    """Return the periods of `rates` in which the attack has the fewest eligible rows for its rate.

    One period for each class that it names and one for its source classes together, because which of these classes it
    draws from is not known here.
    """
    if not rates:
        return set()
    asked: dict[str, dict[int, float]] = {}
    named = {label for labels in attack.named_classes().values() for label in labels}
    for period, rate in rates.items():
        labels = torch.from_numpy(rows_of(period).labels)
        eligible = {str(label): int((labels == label).sum()) for label in named}
        eligible["sources"] = int(attack.of_source(labels).sum())
        for group, count in eligible.items():
            asked.setdefault(group, {})[period] = round(rate * len(labels)) / max(count, 0.5)
    return {max(of, key=of.__getitem__) for of in asked.values()}
