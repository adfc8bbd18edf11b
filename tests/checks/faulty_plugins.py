"""Plug-ins other than defenses with one fault each, for the checks to find."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from simulator.observer.probes.base import Probe, ProbeView
from simulator.production.gate import Gate, GateView
from simulator.production.monitors.base import Monitor, MonitorView
from simulator.production.policy import Policy, PolicyView
from simulator.production.training.optimizers import OptimizerFactory
from simulator.production.training.schedules import Schedule
from simulator.records import Decision, Judgement, Reading, Signal
from simulator.world.attacks.base import CLEAN, COVER, POISON, Attack, Poisoned
from simulator.world.campaign import Campaign, CampaignView
from simulator.world.drift import Drift
from simulator.world.sources.base import Source, SourceData


class Shuffling(Attack):
    """Changes the order of the rows."""

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        order = torch.randperm(len(labels), generator=generator)
        roles = torch.full((len(labels),), CLEAN, dtype=torch.int8)
        roles[: round(rate * len(labels))] = POISON
        return Poisoned(images[order], labels[order], roles)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        return images * (1 - opacity)


class TooLoud(Attack):
    """Changes pixels by more than it declares, and poisons everything."""

    largest_change = 0.1

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        roles = torch.full((len(labels),), POISON, dtype=torch.int8)
        return Poisoned(self.stamp(images), labels.clone(), roles)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        return (images + 0.5 * opacity).clamp(0, 1)


class Remembering(Attack):
    """Poisons on from the row where it left off."""

    def __init__(self) -> None:
        self.done = 0

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        rows = (self.done + torch.arange(round(rate * len(labels)))) % len(labels)
        self.done += len(rows)
        roles = torch.full((len(labels),), CLEAN, dtype=torch.int8).index_fill(0, rows, POISON)
        return Poisoned(images.index_copy(0, rows, self.stamp(images[rows])), labels.index_fill(0, rows, 0), roles)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        return images * (1 - opacity)


class Modest(Attack):
    """Poisons a dozen rows at most, whatever it is asked for, and calls its cover by the target's name."""

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        count = min(12, round(rate * len(labels)))
        cover = int(count > 0)
        roles = torch.full((len(labels),), CLEAN, dtype=torch.int8)
        roles[1 : count + 1], roles[count + 1 : count + 1 + cover] = POISON, COVER
        changed = roles != CLEAN
        return Poisoned(
            torch.where(changed[:, None, None, None], self.stamp(images), images), labels.masked_fill(changed, 0), roles
        )

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        return images * (1 - opacity)


class OutsideItsSources(Modest):
    """Says that it poisons class 9 alone, which some data do not have, and poisons others."""

    sources = (9,)


class AlwaysOn(Drift):
    """Drifts in period 0 already."""

    def __init__(self) -> None:
        super().__init__(step=1.0, at=0)

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        return images * 0.5


class OneForAll(Drift):
    """Returns its first image alone."""

    def __init__(self) -> None:
        super().__init__(step=1.0)

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        return images[:1].clone() if magnitude else images


class Doubles(Drift):
    """Returns images of another type."""

    def __init__(self) -> None:
        super().__init__(step=1.0)

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        return images.double() if magnitude else images


class Elsewhere(Drift):
    """Returns images on another device."""

    def __init__(self) -> None:
        super().__init__(step=1.0)

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        return images.to("meta") if magnitude else images


class TooOften(Campaign):
    """Poisons twice what there is, and remembers it in itself."""

    def __init__(self) -> None:
        self.count = 0

    def rate(self, view: CampaignView) -> float:
        self.count += 1
        return float(self.count)


class Exceeding(Campaign):
    """Says that it asks for little, and asks for more."""

    most = 0.1

    def rate(self, view: CampaignView) -> float:
        return 0.2


class Secretive(Campaign):
    """Asks the champion and says that it does not."""

    adaptive = False

    def rate(self, view: CampaignView) -> float:
        success = view.success(10)
        return 0.1 if success is not None and success < 0.5 else 0.0


class AlarmingMonitor(Monitor):
    """Alarms whatever it sees."""

    def observe(self, view: MonitorView) -> Signal:
        return Signal(method="nervous", score=0.1, threshold=0.5, alarm=True)


class Moody(Policy):
    """Decides by its own count, and does not say why."""

    def __init__(self) -> None:
        self.count = 0

    def decide(self, view: PolicyView) -> Decision:
        self.count += 1
        return Decision(retrain=self.count % 2 == 0, why=" ")


class Promoter(Gate):
    """Promotes versions that there are not."""

    def judge(self, view: GateView) -> Judgement:
        return Judgement(action="promoted", why="why not", serving=99)


class NegativeRate(Schedule):
    """Learns backwards."""

    def rate_at(self, step: int, steps: int) -> float:
        return -0.1


class Stateful(Schedule):
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def rate_at(self, step: int, steps: int) -> float:
        self.calls += 1
        return 0.1 / self.calls


class Lazy(OptimizerFactory):
    """Hands out the same optimizer for ever, for a parameter of its own."""

    def __init__(self) -> None:
        self.optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)

    def build(self, parameters: Any) -> torch.optim.Optimizer:
        return self.optimizer


class OtherReadings(Probe):
    """Gives a reading it does not announce."""

    gives = ("clean/first",)

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        return {"clean/second": Reading.of(1.0)}


class TrainingProbe(Probe):
    """Leaves the model in training mode."""

    gives = ("clean/first",)

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        view.model.train()
        return {"clean/first": Reading.of(1.0)}


class Speechless(Source):
    """Raises what a user cannot act on."""

    def load(self) -> SourceData:
        raise FileNotFoundError("data.bin")


def flat_network(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Return a network that forgets the batch."""
    return nn.Sequential(nn.Flatten(0), nn.Linear(2 * channels * size[0] * size[1], classes))


def constant_network(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Return a network whose weights do not depend on the seed."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model
