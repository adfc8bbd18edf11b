"""Whether a candidate is promoted, and whether the champion may go on serving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from simulator.records import Judgement
from simulator.scenario.bounds import Bounded, Count, Share


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A version that served before the champion and that it descends from.

    `accuracy` is re-scored on the current trusted images (None without any). `flagged`: an inspector flagged it when it
    was made, as can happen to version 0, which serves whatever the verdict.
    """

    ordinal: int
    accuracy: float | None
    flagged: bool = False


@dataclass(frozen=True, slots=True)
class GateView:
    """What a gate may see. Versions are named by their ordinals.

    `candidate` is None when none was trained, `champion` None at period 0; never both. Accuracies are in [0, 1], all on
    the same current trusted images, None without any. `ancestors`: nearest first. `candidate_flagged` and
    `champion_flagged` name the inspectors that flagged the version; `failed` those that gave no usable answer about the
    candidate, `timed_out` those among them that ran into a limit; `inspected` those that passed or flagged it.

    `shadow`: a candidate that is promoted goes into shadow first (`ahead`), or the candidate is a challenger that comes
    out of it (`passed`); then `agreement` is the share of its predictions, in [0, 1], that were the champion's.
    """

    period: int
    candidate: int | None
    champion: int | None
    candidate_accuracy: float | None = None
    champion_accuracy: float | None = None
    ancestors: tuple[Ancestor, ...] = ()
    candidate_flagged: tuple[str, ...] = ()
    champion_flagged: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    timed_out: tuple[str, ...] = ()
    inspected: tuple[str, ...] = ()
    shadow: Literal["none", "ahead", "on", "passed"] = "none"
    agreement: float | None = None

    def __post_init__(self) -> None:
        if self.candidate is None and self.champion is None:
            raise ValueError("expected a gate to be shown a candidate or a champion, got neither; train one first")


class Gate(Bounded, ABC):
    """Judges candidate and champion after the inspectors. Stateless: the same view gives the same judgement."""

    #: whether it may look at ancestors; for one that never does none are scored or shown
    looks_back: ClassVar[bool] = True

    @abstractmethod
    def judge(self, view: GateView) -> Judgement:
        """Return which version serves from now on, and why."""


@final
class NoGate(Gate):
    """Promotes every candidate.

    >>> NoGate().judge(GateView(period=3, candidate=3, champion=2)).serving
    3
    """

    looks_back: ClassVar[bool] = False

    def judge(self, view: GateView) -> Judgement:
        if view.candidate is not None:
            return Judgement(action="promoted", why="no gate", serving=view.candidate, numbers=numbers_of(view))
        return stay(view, ["no candidate"], numbers_of(view))


@final
@dataclass(frozen=True, kw_only=True)
class AccuracyGate(Gate):
    """Promotes a candidate at most `tolerance` less accurate than the champion and that no inspector flagged.

    `tolerance` is a difference of accuracies, in [0, 1]. What cannot be judged is not promoted: a candidate is also
    rejected without trusted images to score it on, and, unless `on_failure` is "ignore", when an inspector failed.

    A champion that would go on serving is rolled back when an inspector flagged it, to the nearest ancestor that none
    flagged; and when it lies more than `tolerance` below such an ancestor, to the nearest of those. Without one it is
    kept. At period 0 the verdict is recorded and version 0 serves whatever it is.

    >>> view = GateView(period=2, candidate=2, champion=1, candidate_accuracy=0.8, champion_accuracy=0.9)
    >>> AccuracyGate(tolerance=0.05).judge(view).why
    "accuracy 0.800 is more than 0.050 below the champion's 0.900"
    >>> AccuracyGate(tolerance=0.2).judge(view).action
    'promoted'
    """

    tolerance: Share = 0.05
    on_failure: Literal["reject", "ignore"] = "reject"

    def judge(self, view: GateView) -> Judgement:
        numbers = {**numbers_of(view), "tolerance": self.tolerance}
        if view.candidate is None:
            return self._go_on(view, ["no candidate"], numbers)
        against = self._against_candidate(view)
        if view.champion is None:
            return first(view, "; ".join(against) or "nothing against it", numbers)
        if against:
            return self._go_on(view, against, numbers)
        why = f"accuracy {_shown(view.candidate_accuracy)} against the champion's {_shown(view.champion_accuracy)}"
        return Judgement(action="promoted", why=why, serving=view.candidate, numbers=numbers)

    def _against_candidate(self, view: GateView) -> list[str]:
        against = []
        if view.candidate_flagged:
            against.append(f"flagged by {', '.join(view.candidate_flagged)}")
        if view.failed and self.on_failure == "reject":
            against.append(f"not inspected: {unheard(view)}")
        if view.champion is None:
            return against
        if view.candidate_accuracy is None or view.champion_accuracy is None:
            against.append("no trusted images to score it on")
        elif self._below(view.candidate_accuracy, view.champion_accuracy):
            against.append(
                f"accuracy {_shown(view.candidate_accuracy)} is more than {_shown(self.tolerance)} "
                f"below the champion's {_shown(view.champion_accuracy)}"
            )
        return against

    def _go_on(self, view: GateView, why: list[str], numbers: dict[str, float]) -> Judgement:
        """The champion goes on serving, unless it is itself rolled back."""
        sound = [ancestor for ancestor in view.ancestors if not ancestor.flagged]
        if view.champion_flagged:
            why = [*why, f"champion flagged by {', '.join(view.champion_flagged)}"]
            return _replace(view, sound, why, numbers)
        better = [ancestor for ancestor in sound if self._below(view.champion_accuracy, ancestor.accuracy)]
        if better:
            why = [
                *why,
                f"champion's accuracy {_shown(view.champion_accuracy)} is more than {_shown(self.tolerance)} "
                f"below version {better[0].ordinal}'s {_shown(better[0].accuracy)}",
            ]
            return _replace(view, better, why, numbers)
        return stay(view, why, numbers)

    def _below(self, accuracy: float | None, other: float | None) -> bool:
        if accuracy is None or other is None:
            return False
        # accuracies are fractions of a count: a difference equal to the tolerance must not fail by rounding
        return other - accuracy > self.tolerance + 1e-9


@final
@dataclass(frozen=True, kw_only=True)
class ScriptedGate(Gate):
    """Rejects the candidate in the periods `reject`; in the periods `roll_back` also goes back to the nearest ancestor.

    Other candidates are promoted. Period 0 can be in neither: version 0 always serves.

    >>> view = GateView(period=2, candidate=2, champion=1, ancestors=(Ancestor(0, accuracy=None),))
    >>> ScriptedGate(reject=(2,)).judge(view).serving, ScriptedGate(roll_back=(2,)).judge(view).serving
    (1, 0)
    """

    reject: tuple[Count, ...] = ()
    roll_back: tuple[Count, ...] = ()

    def judge(self, view: GateView) -> Judgement:
        numbers = numbers_of(view)
        if view.period in self.roll_back:
            return _replace(view, list(view.ancestors), ["rolled back by the script"], numbers)
        if view.candidate is None:
            return stay(view, ["no candidate"], numbers)
        if view.period in self.reject and view.champion is not None:
            return stay(view, ["rejected by the script"], numbers)
        return Judgement(action="promoted", why="not in the script", serving=view.candidate, numbers=numbers)


def _replace(view: GateView, ancestors: list[Ancestor], why: list[str], numbers: dict[str, float]) -> Judgement:
    """Roll back to the first of `ancestors`, or keep the champion when there is none."""
    if not ancestors:
        return stay(view, [*why, "no ancestor to roll back to, so it is kept"], numbers)
    chosen = ancestors[0]
    if chosen.accuracy is not None:
        numbers = {**numbers, "ancestor_accuracy": chosen.accuracy}
    return Judgement(action="rolled back", why="; ".join(why), serving=chosen.ordinal, numbers=numbers)


def stay(view: GateView, why: list[str], numbers: dict[str, float]) -> Judgement:
    """The champion serves on: `rejected` when there was a candidate, else `kept`."""
    if view.champion is None:
        raise ValueError(f"expected a champion to go on serving in period {view.period}, got none; promote one first")
    action: Literal["rejected", "kept"] = "kept" if view.candidate is None else "rejected"
    return Judgement(action=action, why="; ".join(why), serving=view.champion, numbers=numbers)


def unjudged(view: GateView, why: str, numbers: dict[str, float]) -> Judgement:
    """Return the judgement `error`: the champion stays. Without a champion the first version serves all the same."""
    if view.champion is not None:
        return Judgement(action="error", why=why, serving=view.champion, numbers=numbers)
    return first(view, why, numbers)


def first(view: GateView, verdict: str, numbers: dict[str, float]) -> Judgement:
    """Return the candidate where there is no champion: the verdict is recorded, and it serves."""
    assert view.candidate is not None
    why = f"the first version serves whatever the verdict: {verdict}"
    return Judgement(action="promoted", why=why, serving=view.candidate, numbers=numbers)


def numbers_of(view: GateView) -> dict[str, float]:
    """Return what was measured, by name: accuracies on the current trusted images, the agreement in shadow."""
    measured = {
        "candidate_accuracy": view.candidate_accuracy,
        "champion_accuracy": view.champion_accuracy,
        "agreement": view.agreement,
    }
    return {name: value for name, value in measured.items() if value is not None}


def unheard(view: GateView) -> str:
    """Say which inspectors gave no usable answer about the candidate, and why in a word."""
    failed = [name for name in view.failed if name not in view.timed_out]
    said = ((failed, "failed"), (view.timed_out, "timed out"))
    return ", ".join(f"{', '.join(names)} {what}" for names, what in said if names)


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
