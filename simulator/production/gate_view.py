"""What a gate is shown: the candidate or challenger, champion and ancestors, scored on the same trusted images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from simulator.batch import Batch
from simulator.production.gate import Ancestor, GateView
from simulator.production.judging import inspectors
from simulator.production.lineage import ANCESTORS_KEPT
from simulator.production.state import PlatformState
from simulator.production.training.evaluate import accuracy
from simulator.records import Outcome
from simulator.tensors import ModelVersion


@dataclass(frozen=True, slots=True)
class GateAsks:
    """In which period a gate is asked, and by which keys of the scenario.

    `shadow` is for how many periods a version is in shadow; `looks_back`: the gate wants ancestors measured.
    """

    period: int
    shadow: int
    on_timeout: str
    looks_back: bool

    @property
    def unheard(self) -> tuple[str, ...]:
        """The statuses of an inspector that count as a failure."""
        return ("failed",) if self.on_timeout == "pass" else ("failed", "timeout")


def gate_view(
    state: PlatformState,
    versions: Mapping[int, ModelVersion],
    candidate: ModelVersion | None,
    *,
    trusted: Batch,
    outcomes: tuple[Outcome, ...],
    asks: GateAsks,
) -> GateView:
    """Return the view of a period; `versions` are those in memory, `candidate` was trained in it (None: none was)."""
    shown, shadow = _judged(state, versions, candidate), state.shadow

    def score(version: ModelVersion) -> float | None:
        return accuracy(version.model, trusted) if len(trusted) else None

    return GateView(
        period=asks.period,
        candidate=None if shown is None else shown[0],
        champion=state.champion,
        candidate_accuracy=None if shown is None else score(shown[1]),
        champion_accuracy=None if state.champion is None else score(versions[state.champion]),
        ancestors=tuple(
            Ancestor(ordinal, score(versions[ordinal]), flagged=ordinal in state.flagged)
            for ordinal in (ancestors_of(state, versions) if asks.looks_back else ())
        ),
        candidate_flagged=inspectors(outcomes, ("candidate", "challenger"), "flagged"),
        champion_flagged=inspectors(outcomes, ("champion",), "flagged"),
        failed=inspectors(outcomes, ("candidate", "challenger"), *asks.unheard),
        timed_out=inspectors(outcomes, ("candidate", "challenger"), *asks.unheard[1:]),
        inspected=inspectors(outcomes, ("candidate", "challenger"), "passed", "flagged"),
        shadow=_shadow(state, candidate, asks),
        agreement=None if shadow is None else shadow.agreement,
    )


def ancestors_of(state: PlatformState, versions: Mapping[int, ModelVersion]) -> list[int]:
    """Return the nearest versions to roll back to: in memory, and so are their parents, to be measured against."""
    found: list[int] = []
    parents = state.parents
    ordinal = None if state.champion is None else parents[state.champion]
    while ordinal is not None and ordinal in versions and len(found) < ANCESTORS_KEPT:
        parent = parents[ordinal]
        if parent is None or parent in versions:
            found.append(ordinal)
        ordinal = parent
    return found


def wanted(
    state: PlatformState, versions: Mapping[int, ModelVersion], at_hand: Iterable[int], others: Iterable[int]
) -> set[int]:
    """Return the versions to hold: champion, challenger, nearest ancestors and those `at_hand` to serve again.

    With their parents, to be measured against, and the `others`.
    """
    serves = () if state.champion is None else (state.champion,)
    shadow = () if state.shadow is None else (state.shadow.challenger,)
    chain = {*serves, *ancestors_of(state, versions), *at_hand}
    parents = (state.parents[one] for one in chain)
    return {*chain, *(parent for parent in parents if parent is not None), *others, *shadow}


def _judged(
    state: PlatformState, versions: Mapping[int, ModelVersion], candidate: ModelVersion | None
) -> tuple[int, ModelVersion] | None:
    """Return the candidate, or the challenger in shadow."""
    if state.shadow is not None:
        return state.shadow.challenger, versions[state.shadow.challenger]
    return None if candidate is None else (state.next_ordinal, candidate)


def _shadow(
    state: PlatformState, candidate: ModelVersion | None, asks: GateAsks
) -> Literal["none", "ahead", "on", "passed"]:
    if state.shadow is not None:
        return "on" if state.shadow.passed(asks.period) < asks.shadow else "passed"
    return "ahead" if asks.shadow and candidate is not None and state.champion is not None else "none"
