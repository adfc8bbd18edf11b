"""Plug-ins with one fault each, for the checks to find."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from defenses.base import (
    Context,
    Filter,
    FilterResult,
    Hold,
    Inspector,
    InspectorResult,
    Purge,
    Retrain,
    RollBack,
    Screen,
    ScreenResult,
    State,
    Threshold,
    Training,
    TrainingResult,
)
from defenses.recipe_steps import to_train_on, trained_plainly
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


class Good(Filter):
    """Keeps every row; nothing is wrong with it."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(torch.ones(len(context.window or ()), dtype=torch.bool))


class Counting(Filter):
    """Remembers how often it was called; nothing is wrong with it."""

    remembers = True

    def filter(self, context: Context) -> FilterResult:
        kept, calls = Good().filter(context), context.state.values.get("calls", 0) + 1
        return FilterResult(kept.keep, evidence={"calls": calls}, state=State({"calls": calls}))


class LooksBack(Inspector):
    """Compares a version with the one before it and with an earlier window; nothing is wrong with it."""

    versions_back = periods_back = 2

    def inspect(self, context: Context) -> InspectorResult:
        past = [version for version in context.history.versions if version.load is not None]
        rows = [batch.rows() for batch in context.history.batches if batch.load is not None]
        if not past or not rows:
            return InspectorResult(False, 0.0, 1.0)
        moved = (past[-1].model()(rows[-1].images) - context.model(rows[-1].images)).abs().mean()
        return InspectorResult(False, float(moved.detach()), 1.0)


class NeedsHistory(LooksBack):
    """Takes for granted that there is an earlier version."""

    def inspect(self, context: Context) -> InspectorResult:
        return InspectorResult(False, float(context.history.lineage()[0].ordinal), 1.0)


class NeedsWindow(Inspector):
    """Takes for granted that there is a window."""

    def inspect(self, context: Context) -> InspectorResult:
        return InspectorResult(False, float(context.window.labels[0]), 1.0)  # type: ignore[union-attr]


class Asks(Filter):
    """Asks for all that there is, with sound requests; nothing is wrong with it."""

    def filter(self, context: Context) -> FilterResult:
        keep = Good().filter(context).keep
        asked = (Hold("why not"), Purge("why not", (1,), ~keep), RollBack(0, "why not"), Retrain("why not"))
        return FilterResult(keep, requests=asked)


class AsksWithoutReason(Filter):
    """Does not say why it asks."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(Good().filter(context).keep, requests=(Hold(" "),))


class PurgesOtherRows(Filter):
    """Names rows that are not those of the window."""

    def filter(self, context: Context) -> FilterResult:
        gone = torch.ones(3, dtype=torch.bool)
        return FilterResult(Good().filter(context).keep, requests=(Purge("why not", rows=gone),))


class AsksWhileServing(Screen):
    """Asks although it is a screen."""

    def screen(self, context: Context) -> ScreenResult:
        flagged = torch.zeros(len(context.incoming), dtype=torch.bool)  # type: ignore[arg-type]
        return ScreenResult(flagged, requests=(Hold("why not"),))


class AnswersNoClass(Screen):
    """Answers a class that there is not."""

    def screen(self, context: Context) -> ScreenResult:
        flagged = torch.zeros(len(context.incoming), dtype=torch.bool)  # type: ignore[arg-type]
        return ScreenResult(flagged, answers=torch.full((len(flagged),), 1000))


class Trains(Training):
    """Trains by the recipe; nothing is wrong with it."""

    def train(self, context: Context) -> TrainingResult:
        trained_plainly(context.model, *to_train_on(context), context.generator)
        return TrainingResult(context.model)


class TrainsToNan(Training):
    """Returns weights that are no numbers."""

    def train(self, context: Context) -> TrainingResult:
        with torch.no_grad():
            next(context.model.parameters()).fill_(float("nan"))
        return TrainingResult(context.model)


class TakesAKey(Filter):
    """Has an option whose name a scenario uses itself."""

    def __init__(self, *, when: int = 0) -> None:
        self.when = when

    filter = Good.filter


class SaysItRemembers(Filter):
    """Says that it remembers, and returns no state."""

    remembers = True
    filter = Good.filter


class NamesNoThreshold(Filter):
    """Says that an option is its threshold which it does not have."""

    threshold_option = Threshold("limit", of="scores")
    filter = Good.filter


class ComparesScores(Filter):
    """Says that an inspector's score is compared with its threshold, and is a filter."""

    threshold_option = Threshold("limit")

    def __init__(self, *, limit: float = 0.5) -> None:
        self.limit = limit

    filter = Good.filter


class SaysItDecides(Filter):
    """Says that its option decides, and drops every row whose image is bright."""

    threshold_option = Threshold("limit", of="scores")

    def __init__(self, *, limit: float = 0.5) -> None:
        self.limit = limit

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        bright = context.window.images.flatten(1).mean(1).cpu()
        return FilterResult(bright <= bright.median(), scores=bright)


class SaysAnotherWay(Inspector):
    """Says that it flags what is above the threshold, and flags what is below."""

    threshold_option = Threshold("limit")

    def __init__(self, *, limit: float = 1e9) -> None:
        self.limit = limit

    def inspect(self, context: Context) -> InspectorResult:
        score = float(sum(value.norm() for value in context.model.state_dict().values() if value.is_floating_point()))
        return InspectorResult(score < self.limit, score, self.limit)


class DoesNotSayItRemembers(Filter):
    """Returns a state without saying so."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(Good().filter(context).keep, state=State({"calls": 1}))


class RemembersTooMuch(Filter):
    """Returns more than is kept."""

    remembers = True

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(Good().filter(context).keep, state=State({}, {"all": torch.zeros(250_001)}))


class RemembersNan(Filter):
    """Returns a state that is not finite."""

    remembers = True

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(Good().filter(context).keep, state=State({}, {"mean": torch.zeros(2) / 0}))


class LooksBackAWord(Filter):
    """Says in a word how far it looks back."""

    versions_back: Any = "all"
    filter = Good.filter


class RemembersAnInteger(Filter):
    """Says with a number that it remembers."""

    remembers: Any = 1
    filter = Good.filter


class ClearsSometimes(Filter):
    """Says of a roll-back what nobody understands."""

    after_rollback: Any = "sometimes"
    filter = Good.filter


class RemembersAsAScreen(Screen):
    """Is a screen and says that it remembers."""

    remembers = True

    def screen(self, context: Context) -> ScreenResult:
        return ScreenResult(torch.zeros(0 if context.incoming is None else len(context.incoming), dtype=torch.bool))


class Undocumented(Filter):
    def filter(self, context: Context) -> FilterResult:
        return FilterResult(torch.ones(len(context.window or ()), dtype=torch.bool))


class Positional(Filter):
    """Takes an option by place."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = share

    filter = Good.filter


class NoDefault(Filter):
    """Has an option that must be given."""

    def __init__(self, *, share: float) -> None:
        self.share = share

    filter = Good.filter


class WithExample(Filter):
    """Has an option that must be given, and says what the checks may give."""

    example: ClassVar[dict[str, Any]] = {"share": 0.5}

    def __init__(self, *, share: float) -> None:
        self.share = share

    filter = Good.filter


class Untyped(Filter):
    """Has an option without a type."""

    def __init__(self, *, share=0.1) -> None:  # type: ignore[no-untyped-def]
        self.share = share

    filter = Good.filter


class Renamed(Filter):
    """Keeps its option under another name."""

    def __init__(self, *, share: float = 0.1) -> None:
        self.part = share

    filter = Good.filter


class RandomOptions(Filter):
    """Draws when it is built."""

    def __init__(self) -> None:
        self.draw = random.random()

    filter = Good.filter


class Skipping(Undocumented):
    skips: ClassVar[dict[str, str]] = {"documented": "the test says so"}


class SkippingNothing(Filter):
    """Skips a check that there is not."""

    skips: ClassVar[dict[str, str]] = {"documentd": "a slip"}
    filter = Good.filter


class ShortMask(Filter):
    """Forgets a row."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(torch.ones(len(context.window or ()) - 1, dtype=torch.bool))


class FloatMask(Filter):
    """Gives numbers for a mask."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(torch.ones(len(context.window or ())))


class Unseeded(Filter):
    """Draws from the global generator."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(torch.rand(len(context.window or ())) > 0.01)


class ChangesWindow(Filter):
    """Writes into the window."""

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        context.window.images.zero_()
        return Good().filter(context)


class TensorEvidence(Filter):
    """Hands out a tensor as evidence."""

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(Good().filter(context).keep, evidence={"mean": torch.zeros(3)})


class Raises(Filter):
    """Raises."""

    def filter(self, context: Context) -> FilterResult:
        raise RuntimeError("no luck today")


class NeedsTrusted(Inspector):
    """Needs trusted images and does not say so."""

    def inspect(self, context: Context) -> InspectorResult:
        return InspectorResult(False, float(context.trusted.images[0].mean()), 1.0)


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
