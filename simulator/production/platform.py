"""The production line of one lineage: what the platform holds, sees and does. It knows nothing of the world's truth.

The platform is the one place in production that changes over time; everything it calls is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final, get_args

import torch
from torch import Tensor, nn

from defenses.base import Filter, Surface
from simulator.batch import Batch
from simulator.cache.store import NO_CACHE, Cache
from simulator.guard.call import guarded
from simulator.production.asked_recipe import recipe_of_update
from simulator.production.defended_training import NOT_DEFENDED, by_defense, told_of
from simulator.production.defending.combined import ScreenRun
from simulator.production.defending.of_scenario import defenders_of
from simulator.production.gate import Gate
from simulator.production.gate_view import GateAsks, ancestors_of, gate_view, wanted
from simulator.production.granting import Granting
from simulator.production.judging import judged, only_if_finished
from simulator.production.monitoring import signal_of
from simulator.production.monitors.base import Monitor
from simulator.production.objections import occasion_of
from simulator.production.past import Past
from simulator.production.policy import PastPeriod, Policy, PolicyView, decided
from simulator.production.replay import ReplayPool
from simulator.production.state import PlatformState, Shadow
from simulator.production.training.job import Trainer
from simulator.production.update import Updater, Window
from simulator.records import Action, Decision, Filtered, Judgement, Outcome, PastRecord, Signal, Subject, Updated
from simulator.scenario import catalog
from simulator.scenario.model import Scenario
from simulator.tensors import ModelVersion


@final
class Platform:
    """One lineage's production line."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        architecture: Mapping[str, Any],
        device: torch.device,
        validation: Batch,
        archive: Callable[[int], Batch],
        trusted: Callable[[int], Batch],
        labelled: Callable[[Tensor], Mapping[str, Filter]] | None = None,
        trainer: Callable[[Tensor, Tensor], Trainer | None] | None = None,
        cache: Cache = NO_CACHE,
        follows: bool = False,
    ) -> None:
        """`archive(period)` is the platform's own store of batches; `trusted(period)` the defender's own images.

        `labelled(origin)` gives labelled upper bounds for the window whose rows come from `origin` (`update.Window`).
        `trainer(origin, fresh)` says who trains on the rows of a window in place of the platform, if anyone does.
        `cache` recalls trainings. `follows`: the decisions are an arm's, which this lineage replays.
        """
        self._scenario = scenario
        self._device = device
        self._validation = validation
        self._archive = archive
        self._trusted = trusted
        self._monitor: Monitor = catalog.build("monitors", scenario.monitor.use, scenario.monitor.options)
        self._policy: Policy = catalog.build("policies", scenario.policy.use, scenario.policy.options)
        self._gate: Gate = catalog.build("gates", scenario.gate.use, scenario.gate.options)
        self._labelled = labelled
        self._trainer = trainer
        self._updater = Updater(scenario, architecture=architecture, device=device, archive=archive, cache=cache)
        self.defenders = defenders_of(
            scenario,
            architecture,
            device,
            past=lambda facts, serving: self.past.shown(facts, self._state, self._versions, self._period, serving),
            grant=lambda *asked: self._granting.decide(*asked),
        )
        self.pool = ReplayPool(scenario)
        self.past = Past(self.defenders.facts, archive, scenario, lambda: self.pool.purged)
        self._period = 0
        self._state = PlatformState()
        self._granting = Granting(scenario, follows=follows)
        self._versions: dict[int, ModelVersion] = {}
        self._window: Window | None = None
        self._candidate: ModelVersion | None = None
        self._looked: Subject | None = None  # whose features the filters have looked with in this period
        self._asked_recipe: dict[str, Any] = {}

    # -- a period, in order ------------------------------------------------------------------------------------------

    def monitor(self, period: int, current: Batch) -> Signal:
        """Compare the arriving images with the reference; nothing to compare before there is a champion."""
        self._period = period
        self._state.pending.append(period)
        memory = self._state
        if memory.champion is None:
            signal = Signal(method="none: period 0 is the reference")
        else:
            promoted = self._monitor.reference == "promotion" and memory.promotion > 0
            reference = self._trusted(memory.promotion) if promoted else self._validation
            signal = signal_of(self._monitor, self._scenario, reference, current, self.champion.model, period)
        self.past.signalled(period, signal)
        self.defenders.begin(period, signal.alarm)
        return signal

    def decide(self, period: int, signal: Signal) -> Decision:
        """Ask the policy whether to retrain; period 0 is the base training."""
        if self._state.champion is None:
            return Decision(retrain=True, why="base training")
        if self._state.shadow is not None:
            return Decision(retrain=False, why=self._in_shadow(period))
        if self._state.requested and self._arrived(period):
            return Decision(retrain=True, why="; ".join(self._state.requested), recipe=self._granting.recipe)
        view = PolicyView(
            period=period,
            signal=signal,
            history=tuple(past for past in self._state.history if past.period > 0),
            labels_arrived=bool(self._arrived(period)),
            since_update=self._state.since_update + 1,
        )
        return decided(catalog.plugin("policies", self._scenario.policy.use), self._policy, view)

    def retrain_by(self, recipe: Mapping[str, Any]) -> None:
        """Let the update of this period differ from the scenario's recipe, as a defense has asked."""
        self._asked_recipe = dict(recipe)
        self._updater.recipe = recipe_of_update(self._scenario, recipe)

    def filter(self, period: int, subject: Subject) -> Filtered:
        """Let the filters look at the window: with the candidate's features afresh, at all but what was purged."""
        window = self._assembled(period).whole()
        version = self.champion if subject == "champion" else self.candidate
        extra = self._labelled(window.origin) if self._labelled is not None else None
        trusted = self._trusted(period)
        self._looked = subject
        self._begin(f"filter {subject}", period, window)
        left = self._granting.left_of(window.origin)
        run = self.defenders.filter(
            version, window.shown, trusted, period=period, subject=subject, extra=extra, left=left
        )
        self._window = window.keeping(run.keep)
        return Filtered(dropped=int((~run.keep).sum()), again=run.again, outcomes=run.outcomes)

    def train(self, period: int) -> Updated:
        """Fine-tune the champion on the window (period 0: train the base); the result is the candidate.

        The training defense does so where the scenario has one that can, unless the attacker trains.
        """
        window = self._assembled(period)
        trainer = self._trainer_of(window)
        champion = None if self._state.champion is None else self.champion.model
        done = NOT_DEFENDED
        if trainer is None and not (champion is None and self._scenario.base is not None):
            self._begin(f"train after {self._looked}", period, window)
            done = by_defense(self.defenders, self._updater, champion, window, self._trusted(period), period)
        trained = done.trained or self._updater.update(champion, window, period, trainer)
        name = done.name if trainer is None else trainer.name
        self._candidate = ModelVersion(trained.model)
        return Updated(training=told_of(trained, window, name, self._asked_recipe), outcomes=done.outcomes)

    def base(self) -> nn.Module:
        """The base that period 0 will train of all its rows, in eval mode; the platform stays as it is."""
        return self._updater.update(None, self._updater.window(0, [0], [], {}), 0).model

    def repair(self, period: int) -> tuple[Outcome, ...]:
        """Let the repairs change the candidate."""
        trusted, window = self._trusted(period), self._assembled(period)
        self._begin("repair", period, window)
        self._candidate, outcomes = self.defenders.repair(self.candidate, trusted, period=period, window=window.shown)
        return outcomes

    def inspect(self, period: int, subject: Subject, at_promotion: bool = False) -> tuple[Outcome, ...]:
        """Let the inspectors judge a model; the challenger only in the period in which its shadow is over.

        With `at_promotion` those are asked that look at what would be promoted only, else the others.
        """
        shadow = self._state.shadow
        if subject == "challenger" and (shadow is None or shadow.passed(period) < self._scenario.shadow.periods):
            return ()
        if shadow is not None and subject == "challenger":
            version = self._versions[shadow.challenger]
        else:
            version = self.champion if subject == "champion" else self.candidate
        window = self._assembled(period) if subject == "candidate" else None
        self._begin(f"inspect {subject}{' at promotion' if at_promotion else ''}", period, window)
        return self.defenders.inspect(
            version,
            self._trusted(period),
            period=period,
            subject=subject,
            window=None if window is None else window.shown,
            at_promotion=at_promotion,
        )

    def gate(self, period: int, outcomes: tuple[Outcome, ...]) -> Judgement:
        """Score what is judged, champion and ancestors on the same trusted images and ask the gate."""
        memory = self._state
        if memory.shadow is not None:
            images, challenger = self._archive(period).images, self._versions[memory.shadow.challenger]
            memory.shadow = memory.shadow.compared(period, challenger.model, self.champion.model, images)
        view = gate_view(
            self._state,
            self._versions,
            self._candidate,
            trusted=self._trusted(period),
            outcomes=outcomes,
            asks=GateAsks(period, self._scenario.shadow.periods, self._scenario.on_timeout, self._gate.looks_back),
        )
        if view.candidate is not None and view.candidate_flagged:
            self._state.flagged.append(view.candidate)
        with guarded(catalog.plugin("gates", self._scenario.gate.use), {}, seed=period):
            judgement = judged(self._gate, view, why=self._in_shadow(period))
            judgement = self._granting.judged(judgement, view, self._gate)
        return only_if_finished(judgement, view, outcomes) if self._scenario.on_timeout == "closed" else judgement

    def apply(self, period: int, signal: Signal, judgement: Judgement) -> None:
        """Carry out a judgement (the gate's own, or one replayed by a paced twin) and close the period."""
        memory = self._state
        retrained = self._candidate is not None
        if self._candidate is not None:
            memory.parents[memory.next_ordinal] = memory.champion
            self._versions[memory.next_ordinal] = self._candidate
            self.past.trained(memory.next_ordinal, self._candidate, self._trusted(period))
            self._remember_rows(period)
            memory.next_ordinal += 1
            memory.requested, self._granting.recipe = [], {}
        if judgement.action != "held":
            memory.shadow = None
        elif retrained:
            memory.shadow = Shadow(memory.next_ordinal - 1, period, {})
        if judgement.serving != memory.champion:
            memory.promotion = period
        before, memory.champion = memory.champion, judgement.serving
        memory.since_update = 0 if judgement.action == "promoted" else memory.since_update + 1
        memory.history.append(PastPeriod(period, signal.alarm, retrained))
        if back := judgement.action == "rolled back":
            self._rolled_back(before, judgement.serving)
        self._granting.served(before, judgement.serving, memory.parents, rolled_back=back)
        self._granting.close(period, memory, self.pool)
        self._candidate, self._window, self._looked, self._asked_recipe = None, None, None, {}
        self._updater.recipe = self._scenario.recipe

    def screen(self, period: int, ordinal: int, images: Tensor) -> ScreenRun:
        """Let the screens look at images on their way to a version, also to one that does not serve."""
        version, trusted, about = self._versions[ordinal], self._trusted(period), self._state.role_of(ordinal)
        return self.defenders.screen(version, images, trusted, period=period, about=about, ordinal=ordinal)

    # -- an operator, between two periods -----------------------------------------------------------------------------

    def act(self, action: Action, weights: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Carry out an operator's action; `weights` are those of the versions that come back and are not in memory."""
        memory = self._state
        if action.to is None:
            memory.requested.append(f"requested after period {action.period}: {action.reason}")
            return
        self.hand(weights)
        self._rolled_back(memory.champion, action.to)
        self._granting.served(memory.champion, action.to, memory.parents, rolled_back=True)
        memory.champion, memory.promotion, memory.shadow = action.to, action.period, None

    # -- what others may ask -----------------------------------------------------------------------------------------

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """The surfaces on which some defense acts."""
        found = tuple(surface for surface in get_args(Surface) if self.defenders.has(surface))
        return ("filter", *found) if self._labelled is not None and "filter" not in found else found

    @property
    def champion(self) -> ModelVersion:
        """The version that serves."""
        if self._state.champion is None:
            raise LookupError("no version serves before the base training is judged")
        return self._versions[self._state.champion]

    @property
    def candidate(self) -> ModelVersion:
        """The version trained in this period."""
        if self._candidate is None:
            raise LookupError("no candidate was trained in this period")
        return self._candidate

    @property
    def serving(self) -> int | None:
        """The ordinal of the champion."""
        return self._state.champion

    @property
    def trained(self) -> tuple[int, ...]:
        """The periods whose rows some candidate was trained on."""
        return tuple(self._state.trained)

    def version(self, ordinal: int) -> ModelVersion:
        """A version in memory: the champion, its nearest ancestors, the challenger, and the period's candidate."""
        return self._versions[ordinal]

    def parent(self, ordinal: int) -> int | None:
        """The version that `ordinal` was fine-tuned from."""
        return self._state.parents[ordinal]

    # -- between periods, and across processes -----------------------------------------------------------------------

    def tidy(self, keep: set[int]) -> None:
        """Let go of what nothing needs, `keep` and what defenses look back to do.

        Raises `PluginError` when a model that was served or judged in this period was changed in place.
        """
        for version in self._versions.values():
            version.expect_unchanged()
        self.past.tidy(self._period)
        held = wanted(self._state, self._versions, self._at_hand(), keep | self.past.kept(self._state))
        self._versions = {ordinal: version for ordinal, version in self._versions.items() if ordinal in held}
        for version in self._versions.values():
            version.release()

    def state(self) -> dict[str, Any]:
        """What a fresh process needs beside the weights of `kept`, as JSON values."""
        remembered = self.pool.state() | self.past.state() | self.defenders.memory.to_json() | self._granting.to_json()
        return self._state.to_json() | remembered | {"kept": sorted(self._versions)}

    def restore(
        self,
        state: Mapping[str, Any],
        weights: Mapping[int, Mapping[str, Tensor]],
        past: Sequence[PastRecord] = (),
    ) -> None:
        """Continue from `state` with the weights of the versions it kept, and what defenses may know of the `past`."""
        self._state = PlatformState.from_json(state)
        self.pool.restore(state)
        self._granting.restore(state)
        self.past.restore(state, past)
        self.defenders.memory.restore(state)
        self._versions = self._rebuilt({ordinal: weights[ordinal] for ordinal in state["kept"]})

    def missing(self) -> list[int]:
        """The versions that defenses look back to and that are not in memory: after a roll-back there may be some."""
        return sorted(self.past.kept(self._state) - self._versions.keys())

    def hand(self, weights: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Hold versions with these weights, by ordinal."""
        self._versions |= self._rebuilt(weights)

    def close(self) -> None:
        """End the defenses' worker."""
        self.defenders.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _rebuilt(self, weights: Mapping[int, Mapping[str, Tensor]]) -> dict[int, ModelVersion]:
        return {ordinal: ModelVersion(self._updater.rebuild(values)) for ordinal, values in weights.items()}

    def _rolled_back(self, left: int | None, to: int) -> None:
        self.pool.rolled_back(self._state.parents, self._state.history, left, to)
        self.defenders.rolled_back(self._state.trained_in(to))

    def _in_shadow(self, period: int) -> str:
        shadow = self._state.shadow
        return "" if shadow is None else shadow.told(period, self._scenario.shadow.periods)

    def _arrived(self, period: int) -> list[int]:
        """Periods whose rows wait for training and whose labels have arrived; the base's arrive at once."""
        delay, pending = self._scenario.stream.label_delay, self._state.pending
        arrived = [waiting for waiting in pending if waiting == 0 or waiting <= period - delay]
        return [waiting for waiting in arrived if waiting not in self.pool.purged]

    def _begin(self, stage: str, period: int, window: Window | None) -> None:
        """Let defenses be asked in a stage about what is left of `window`."""
        judged = self._state.shadow is not None or window is not None or self._candidate is not None
        self._granting.begin(occasion_of(stage, period, self._state, self._at_hand(), window, judged=judged))

    def _at_hand(self) -> frozenset[int]:
        """The versions that can serve again in this period; none where no defense may ask for that."""
        memory, versions = self._state, self._versions
        known = {*ancestors_of(memory, versions), *self.past.kept(memory)} if self._granting.may_roll_back else ()
        return frozenset(ordinal for ordinal in known if ordinal in versions)

    def _assembled(self, period: int) -> Window:
        if self._window is None:
            memory = self._state
            pool = self.pool.of(memory.trained)
            self._window = self._updater.window(period, self._arrived(period), pool, memory.dropped)
        return self._window

    def _trainer_of(self, window: Window) -> Trainer | None:
        """The attacker's trainer for this window; None where the platform trains, or takes a checkpoint as it is."""
        if self._trainer is None or (self._state.champion is None and self._scenario.base is not None):
            return None
        return self._trainer(window.origin[window.keep], window.fresh[window.keep])

    def _remember_rows(self, period: int) -> None:
        memory = self._state
        arrived = self._arrived(period)
        memory.dropped.update(self._assembled(period).dropped())  # rows of a period are new once
        memory.trained.extend(arrived)
        memory.pending = [waiting for waiting in memory.pending if waiting not in arrived]
