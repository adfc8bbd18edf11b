"""Defenses with one fault each, and a few sound ones, for the checks to find."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import torch

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


class TwentyClasses(Inspector):
    """Has a place for each of twenty classes, and none for one more."""

    def inspect(self, context: Context) -> InspectorResult:
        return InspectorResult(False, float(torch.zeros(20)[context.trusted.labels].mean()), 1.0)
