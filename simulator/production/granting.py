"""Decides what defenses ask for, in the order in which they ask, and carries it out when the period is judged or over.

Nothing is granted that the scenario does not allow (`may`). What must outlive a period is kept in the platform's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from simulator.production.defending.results import DefenseRun
from simulator.production.gate import Gate, GateView
from simulator.production.judging import held_back
from simulator.production.lineage import Parents, abandoned, line_of
from simulator.production.objections import (
    Occasion,
    Standing,
    named,
    no_hold,
    no_purge,
    no_retraining,
    no_roll_back,
    not_allowed,
)
from simulator.production.replay import ReplayPool
from simulator.production.state import PlatformState
from simulator.records import Asked, Judgement
from simulator.scenario.model import Scenario, Use

#: more rows than a batch has
_ROWS: Final = 2**32


@dataclass(frozen=True, slots=True)
class _Granted:
    """A request that was granted to the defense `name`; `places` int64 (M, 2): period and position of purged rows."""

    name: str
    asked: Asked
    places: Tensor | None = None

    @property
    def why(self) -> str:
        return f"asked for by {self.name}: {self.asked.reason}"


@final
class Granting:
    """The requests of a lineage's defenses; `follows`: it replays the decisions of its arm."""

    def __init__(self, scenario: Scenario, *, follows: bool = False) -> None:
        self._scenario, self._follows = scenario, follows
        #: whether some defense may have a version serve again
        self.may_roll_back = any("roll-back" in use.may for use in scenario.defenses)
        self._occasion: Occasion | None = None
        self._granted: dict[str, list[_Granted]] = {}
        self._served: set[int] = set()
        self._left: set[int] = set()
        #: what the retraining that is due does otherwise than the scenario's recipe
        self.recipe: dict[str, Any] = {}

    # -- while defenses are asked ------------------------------------------------------------------------------------

    def begin(self, occasion: Occasion) -> None:
        """Let defenses be asked on an occasion; what was granted in an earlier call of its stage is forgotten."""
        self._occasion = occasion
        self._granted[occasion.stage] = []

    def left_of(self, origin: Tensor) -> Tensor:
        """Return bool (N,): the rows from `origin` (`update.Window`) that no purge by a filter takes out so far."""
        left = torch.ones(len(origin), dtype=torch.bool)
        for stage, granted in self._granted.items():
            for places in (one.places for one in granted if stage.startswith("filter") and one.places is not None):
                left &= ~torch.isin(origin[:, 0] * _ROWS + origin[:, 1], places[:, 0] * _ROWS + places[:, 1])
        return left

    def decide(self, name: str, use: Use, run: DefenseRun, keep: Tensor | None) -> tuple[list[Asked], Tensor | None]:
        """Return the requests of a defense's result as decided, and which rows of the window stay (None: no matter)."""
        assert self._occasion is not None
        found = []
        for place, asked in enumerate(run.outcome.requests):
            gone = named(asked, run.purges.get(place), self._occasion)
            against = not_allowed(use, asked, run.outcome, follows=self._follows) or self._against(asked, gone, keep)
            if against is None:
                places = self._occasion.origin[gone] if asked.kind == "purge" else None
                self._granted[self._occasion.stage].append(_Granted(name, asked, places))
                keep = keep & ~gone if keep is not None and asked.kind == "purge" else keep
            found.append(asked.model_copy(update={"granted": against is None, "why": against or _meaning(asked, keep)}))
        return found, keep

    def _against(self, asked: Asked, gone: Tensor, keep: Tensor | None) -> str | None:
        assert self._occasion is not None
        granted = [one.asked for one in self._all()]
        standing = Standing(frozenset(self._served), frozenset(self._left), granted, self.recipe)
        match asked.kind:
            case "roll-back":
                return no_roll_back(asked, self._occasion, standing)
            case "hold":
                return no_hold(self._occasion)
            case "retrain":
                return no_retraining(asked, self._occasion, standing, self._scenario)
            case "purge":
                return no_purge(asked, self._occasion, gone, keep)

    # -- at the gate -------------------------------------------------------------------------------------------------

    def judged(self, judgement: Judgement, view: GateView, gate: Gate) -> Judgement:
        """Return the gate's judgement after what was granted: a roll-back takes its place, a hold a promotion's."""
        back = [one for one in self._all() if one.asked.kind == "roll-back"]
        if back and back[0].asked.to is not None:
            why = "; ".join(dict.fromkeys(one.why for one in back))
            numbers = judgement.numbers
            return Judgement(
                action="rolled back", why=why, serving=back[0].asked.to, judged=view.candidate, numbers=numbers
            )
        holds = [one for one in self._all() if one.asked.kind == "hold"]
        if not holds or judgement.action not in ("promoted", "held"):
            return judgement
        return held_back(gate, view, "; ".join(dict.fromkeys(f"held, {one.why}" for one in holds)))

    # -- when the period is over -------------------------------------------------------------------------------------

    def close(self, period: int, state: PlatformState, pool: ReplayPool) -> None:
        """Carry out what takes effect later: purges of what is replayed, and retrainings."""
        for one in self._all():
            why = f"{one.why} (period {period})"
            if one.asked.kind == "retrain":
                state.requested.append(why)
                self.recipe = self.recipe or dict(one.asked.recipe)
            if one.asked.kind == "purge" and one.places is not None:
                for earlier in one.asked.periods:
                    pool.purge(earlier, why)
                _drop(state, one.places)
        self._granted = {}

    def served(self, before: int | None, serving: int, parents: Parents, *, rolled_back: bool) -> None:
        """Take note of who serves from now on; `parents` are those of all versions.

        A roll-back gives up the whole branch that it leaves; a version that serves again returns with its ancestors.
        """
        if self.may_roll_back:
            if rolled_back and before is not None:
                self._left |= abandoned(parents, before, serving)
            self._served.add(serving)
            self._left -= set(line_of(parents, serving))

    def to_json(self) -> dict[str, Any]:
        """Return what a fresh process needs, as JSON values; nothing where nothing is asked for."""
        served = {"served": sorted(self._served), "left": sorted(self._left)} if self.may_roll_back else {}
        found = served | ({"recipe": self.recipe} if self.recipe else {})
        return {"granting": found} if found else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a platform's state that holds what `to_json` returned."""
        found = state.get("granting", {})
        self._served, self._left = set(found.get("served", ())), set(found.get("left", ()))
        self.recipe, self._granted = dict(found.get("recipe", {})), {}

    def _all(self) -> list[_Granted]:
        return [one for granted in self._granted.values() for one in granted]


def _meaning(asked: Asked, keep: Tensor | None) -> str:
    """Say what a granted request leads to."""
    match asked.kind:
        case "roll-back":
            return f"ordinal {asked.to} serves from now on"
        case "hold":
            return "what is judged is not promoted"
        case "retrain":
            return "the next period retrains where it can"
        case "purge":
            return "not replayed any more" if keep is None else "neither trained on in this period nor replayed later"


def _drop(state: PlatformState, places: Tensor) -> None:
    for period in places[:, 0].unique().tolist():
        rows = places[places[:, 0] == period, 1].tolist()
        state.dropped[period] = sorted({*state.dropped.get(period, []), *rows})
