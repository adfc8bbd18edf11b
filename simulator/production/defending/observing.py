"""A defense that is only asked: what it says of each update is noted for its calibration, and changes nothing.

An inspector stays where it is and flags nothing, a filter keeps every row. A screen is asked as a filter, about the
rows that arrived since the version was trained that serves: what a defender has of its traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import torch
from torch import Tensor

from defenses.base import (
    Context,
    Defense,
    DoesNotApply,
    Filter,
    FilterResult,
    Inspector,
    InspectorResult,
    ScreenResult,
    State,
    Threshold,
)
from simulator.production.defending.facts import DefenseFacts
from simulator.production.defending.job import METHODS, build
from simulator.production.defending.unusable import Unusable

#: what a scenario says to have a defense only asked
OBSERVING: Final = "simulator.production.defending.observing:observing"
#: key of the evidence under which stands what was noted
NOTED: Final = "noted"
#: the highest scores of rows that are noted of one call; evidence has a largest size
MOST_SCORES: Final = 2_000
#: how far from the threshold a number may lie so that rounded evidence does not contradict the verdict
_NEAR: Final = 0.01


def observing(*, defense: dict[str, Any], facts: dict[str, Any]) -> Defense:
    """Return a defense that asks another: `defense`, as a scenario names it, which is built only where it is called.

    `facts` are its `DefenseFacts`, so that a stranger's code need not be imported to know them.
    """
    options = {name: value for name, value in defense.items() if name != "use"}
    asked = _Asked(defense["use"], options, DefenseFacts.model_validate(facts))
    made: Defense = _Inspecting(asked) if asked.facts.surface == "inspector" else _Filtering(asked)
    for name in ("needs_trusted", "versions_back", "periods_back", "remembers", "after_rollback"):
        setattr(made, name, getattr(asked.facts, name))
    return made


@dataclass(frozen=True, slots=True)
class _Asked:
    """The defense that is asked."""

    use: str
    options: Mapping[str, Any]
    facts: DefenseFacts

    @property
    def threshold(self) -> Threshold:
        assert self.facts.threshold_option is not None
        return self.facts.threshold_option

    def result(self, context: Context) -> tuple[Any, dict[str, Any]]:
        """Return what it says in this context, and what is noted of that."""
        defense = build(self.use, self.options)
        result = getattr(defense, METHODS[defense.surface])(context)
        # what remembers may have said so before, and asks once
        current = None if self.facts.remembers else getattr(defense, self.threshold.option, None)
        return result, {NOTED: noted(self.threshold, result, current)}


@final
class _Inspecting(Inspector):
    """Asks an inspector and flags nothing."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked

    def inspect(self, context: Context) -> InspectorResult:
        result, evidence = self._asked.result(context)
        return InspectorResult(False, result.score, result.threshold, evidence, state=result.state)


@final
class _Filtering(Filter):
    """Asks a filter, or a screen about fresh rows, and keeps every row."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked

    def filter(self, context: Context) -> FilterResult:
        if context.window is None or not len(context.window):
            raise DoesNotApply("there are no rows to look at")
        screens = self._asked.facts.surface == "screen"
        result, evidence = self._asked.result(_as_traffic(context) if screens else context)
        again, state = (False, None) if screens else (result.again, result.state)
        keep = torch.ones(len(context.window), dtype=torch.bool)
        return FilterResult(keep, evidence=evidence, again=again, state=state)


def _as_traffic(context: Context) -> Context:
    """Return what a screen in front of the champion is handed of the rows that it never trained on."""
    assert context.window is not None
    if context.subject != "champion":
        raise DoesNotApply("no version serves yet")
    fresh = context.window.fresh
    rows = context.window if fresh is None else context.window.take(fresh)
    if not len(rows):
        raise DoesNotApply("no rows arrived")
    return replace(context, window=None, incoming=rows.images, state=State())


def noted(threshold: Threshold, result: Any, current: Any) -> dict[str, Any]:
    """Return what is kept of a result: its scores, higher = more suspicious, and how many were flagged of how many.

    `current` is the value that the option has. Raise `DoesNotApply` where there is nothing to compare with it, and
    `Unusable` where the verdict does not follow from it.
    """
    sign = 1.0 if threshold.flags == "above" else -1.0
    flagged = _flagged(result)
    if threshold.of == "scores":
        scores = _scores(result)
        highest = (sign * scores).sort(descending=True).values[:MOST_SCORES]
        return {"scores": _rounded(highest.tolist()), "rows": len(scores), "flagged": int(flagged.sum())}
    values = [result.score] if threshold.of == "score" else _numbers(result.evidence, threshold.of)
    if not values:
        raise DoesNotApply(f"its evidence holds no number under '{threshold.of}'")
    value = max(sign * float(one) for one in values)
    found = bool(flagged.any()) or (isinstance(result, FilterResult) and bool(result.requests))
    if isinstance(current, int | float) and found != (value > sign * current) and not _near(value, sign * current):
        raise Unusable(
            f"expected the verdict to follow from '{threshold.of}' and the option {threshold.option}, got "
            f"{sign * value:.4g} beside {current:.4g} and {'a' if found else 'no'} flag; its other options decide too"
        )
    return {"scores": _rounded([value]), "rows": 1, "flagged": int(found)}


def _flagged(result: Any) -> Tensor:
    """Return bool (N,): which rows are dropped or refused; of a model, whether it is flagged (1,)."""
    if isinstance(result, FilterResult):
        return ~result.keep
    return result.flagged if isinstance(result, ScreenResult) else torch.tensor([result.flagged])


def _scores(result: Any) -> Tensor:
    scores = result.scores
    if not isinstance(scores, Tensor) or scores.shape != _flagged(result).shape or not torch.isfinite(scores).all():
        raise Unusable("expected the scores of rows or images to be finite, one each, got something else")
    return scores.detach().cpu().double()


def _numbers(evidence: Any, path: str) -> list[float]:
    """Return the numbers that a dotted path names.

    >>> _numbers({"classes": {"0": {"doubt": 0.5}, "1": {"doubt": None}, "2": {"doubt": 0.25}}}, "classes.*.doubt")
    [0.5, 0.25]
    """
    found: list[Any] = [evidence]
    for part in path.split("."):
        found = [inner for one in found for inner in _inside(one, part)]
    return [one for one in found if isinstance(one, int | float) and not isinstance(one, bool)]


def _inside(value: Any, part: str) -> Iterable[Any]:
    if part == "*":
        return value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return (value[part],) if isinstance(value, Mapping) and part in value else ()


def _near(value: float, other: float) -> bool:
    return abs(value - other) <= _NEAR * max(abs(value), abs(other))


def _rounded(values: list[float]) -> list[float]:
    """Return values with nine digits, which hold every float32."""
    return [float(f"{value:.9g}") for value in values]
