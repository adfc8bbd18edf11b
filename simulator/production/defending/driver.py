"""Runs a scenario's defenses, surface by surface, and returns the outcome of each for the record."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from defenses.base import Defense, Filter, Rows, Surface
from defenses.base import Subject as About
from simulator.batch import Batch
from simulator.errors import ChangedCodeError
from simulator.production.defending.combined import FilterRun, ScreenRun, answers_finitely, broken, narrow
from simulator.production.defending.facts import DefenseFacts, facts_of
from simulator.production.defending.history import HistoryFacts
from simulator.production.defending.job import WEIGHT, Job, Subject, run_job, run_with
from simulator.production.defending.memory import STATE, Memory
from simulator.production.defending.recipe import RecipeFacts
from simulator.production.defending.results import DefenseRun
from simulator.production.defending.runner import InProcesses, Limits
from simulator.production.training.weights import load_into
from simulator.records import Asked, Outcome
from simulator.scenario import catalog
from simulator.scenario.code import Digests
from simulator.scenario.identity import changes, code_of_use
from simulator.scenario.model import DefenseUse, Use
from simulator.seeds import seed_for
from simulator.tensors import ModelVersion

#: how much longer a call may take whose passes are limited, so that the clock ends only what hangs
_PATIENCE = 10.0
#: of a filter that was made for a window
_OF_A_FILTER = DefenseFacts(surface="filter", needs_trusted=False, defaults={})
#: images and labels, perhaps with the periods in which they arrived and whether they are fresh
Labelled = Batch | Rows
#: (facts of a defense that looks back, the version that is taken for the champion, or None) -> its history, and the
#: blobs that go with it
PastOf = Callable[[DefenseFacts, int | None], tuple[HistoryFacts, dict[str, Tensor]]]
#: decides what a defense of that name asks for: (name, its entry of the scenario, what it came to, rows kept so far,
#: or None) -> the requests as decided, rows kept from now on
Grant = Callable[[str, Use, DefenseRun, Tensor | None], tuple[list[Asked], Tensor | None]]


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    use: DefenseUse
    facts: DefenseFacts
    built: Defense | None = None  # a filter made for this very window: it runs in this process


@final
class Defenders:
    """The scenario's defenses, in its order.

    `architecture` rebuilds the network (`VersionPayload`); `limits` are those of a call in a process of its own, which
    has `threads`; `passes` limit every call (see `Defense.passes`); `seed` is the lineage's. With
    `refuse_unscreened`, a screen that reaches a limit refuses all images; without, none. A defense is named as in
    the scenario, the second of the same name with `-2` appended, and built anew for every call. Unless `in_process`, a
    stranger's is also imported and constructed in a process of its own only.

    `past` gives a defense that looks back the history of its facts, and the blobs that go with it; `memory` is what
    defenses remember. A state takes effect with its result, so that the next call in the same period is handed it.
    `grant` decides what they ask for; None: nothing is granted.

    A defense that raises, crashes, or returns something unusable gives an outcome `failed`, one that reaches a limit of
    time or passes `timeout`; what it returned is not used: rows stay, the model stays, nothing is flagged. The
    caller's models and batches are never changed.
    """

    def __init__(
        self,
        defenses: Sequence[Use],
        *,
        architecture: Mapping[str, Any],
        device: torch.device,
        limits: Limits,
        in_process: bool,
        threads: int,
        seed: int,
        passes: int | None = None,
        refuse_unscreened: bool = False,
        past: PastOf | None = None,
        grant: Grant | None = None,
    ) -> None:
        cpu = replace(limits, confined=limits.confined and device.type == "cpu")
        uses = tuple(use.use for use in defenses)
        self._processes = None if in_process else InProcesses(uses, cpu, threads=threads, architecture=architecture)
        self._passes = passes
        self._refuse_unscreened = refuse_unscreened
        self._past = past
        self._grant = grant
        self._period, self._alarm = 0, True
        self._kept: dict[str, Tensor] = {}
        self.memory = Memory()
        try:
            self._members = _members(defenses, self._facts)
        except BaseException:
            self.close()
            raise
        self._code = _code_of(self._members)
        self._architecture = dict(architecture)
        self._device = device
        self._seed = seed
        #: wall-clock seconds spent so far by defense, the start of processes included
        self.seconds_by_name: dict[str, float] = {}

    def close(self) -> None:
        """End the processes, if any were started."""
        if self._processes is not None:
            self._processes.close()

    @property
    def notes(self) -> dict[str, dict[str, Any]]:
        """What was noted about the calls of each defense; it depends on the machine, so it belongs to no record."""
        return {} if self._processes is None else {name: dict(noted) for name, noted in self._processes.notes.items()}

    def has(self, surface: Surface) -> bool:
        """Return whether any defense works on `surface`."""
        return bool(self._on(surface))

    @property
    def facts(self) -> tuple[DefenseFacts, ...]:
        """The facts of the defenses, in the scenario's order."""
        return tuple(member.facts for member in self._members)

    def begin(self, period: int, alarm: bool) -> None:
        """Take note of the period, and whether the monitor raised an alarm: by that, some are not asked."""
        self._period, self._alarm, self._kept = period, alarm, {}

    @property
    def at_promotion(self) -> bool:
        """Whether some inspector is asked only about what would be promoted."""
        return any(member.use.when == "at-promotion" for member in self._on("inspector"))

    def rolled_back(self, trained: int) -> None:
        """Take note that a version serves again that was trained in the period `trained`."""
        clearing = (member.name for member in self._members if member.facts.after_rollback == "clear")
        self.memory.clear(clearing, trained)

    def filter(
        self,
        version: ModelVersion,
        window: Labelled,
        trusted: Batch,
        *,
        period: int,
        subject: About,
        extra: Mapping[str, Filter] | None = None,
        left: Tensor | None = None,
    ) -> FilterRun:
        """Run the filters on the whole window with the features of `version`.

        `subject` says whose features they are; only after a look with the champion's may a filter ask for a second. The
        second verdict of each replaces its first, unless it does not apply. `extra` are filters already built for this
        window, by name, for labelled upper bounds: they run in this process, after the others. `left` bool (N,) are the
        rows that no granted purge has taken out before; None: all.

        A row stays when every filter keeps it, with two exceptions: a filter that would leave fewer than two rows has
        failed; a class that would lose its last row keeps all that were left of it, since a model trained without a
        class forgets it, and the outcome says so.
        """
        tensors = self._tensors(version, trusted, window)
        built = [_Member(name, DefenseUse(use=name), _OF_A_FILTER, built=one) for name, one in (extra or {}).items()]
        labels = window.labels.cpu()
        keep: Tensor = torch.ones(len(window), dtype=torch.bool) if left is None else left
        runs: list[tuple[_Member, DefenseRun]] = []
        for member in (*self._due("filter"), *built):
            run = self._of_both_looks(self._run(member, "window", tensors, period, subject), member.name, subject)
            keep, outcome = narrow(keep, labels, run)
            self._remember(member, run, outcome, period)
            evidence = outcome.evidence | {"features_of": subject}
            runs.append((member, replace(run, outcome=outcome.model_copy(update={"evidence": evidence}))))
        outcomes = []
        for member, run in runs:  # once it is known what the filters leave
            outcome, keep = self._decided(member, run, keep)
            outcomes.append(outcome)
        again = subject == "champion" and any(run.again for _, run in runs)
        return FilterRun(keep.to(window.labels.device), tuple(outcomes), again)

    def _of_both_looks(self, run: DefenseRun, name: str, subject: About) -> DefenseRun:
        """Return a filter's run, with the rows that its first look kept where the second does not apply."""
        if subject == "champion" and "keep" in run.tensors:
            self._kept[name] = run.tensors["keep"]
        stands = subject != "champion" and run.outcome.status == "skipped" and name in self._kept
        return replace(run, tensors={"keep": self._kept[name]}) if stands else run

    def train(
        self, start: ModelVersion, window: Labelled, trusted: Batch, recipe: RecipeFacts, *, period: int, about: About
    ) -> tuple[ModelVersion | None, tuple[Outcome, ...]]:
        """Let the training defense train `start`, of the model `about`; return None where it did not.

        It is not asked in every period, perhaps, or what it returned could not be used.
        """
        trained, outcomes = None, []
        for member in self._due("training"):
            run = self._run(member, "candidate", self._tensors(start, trusted, window), period, about, recipe)
            trained, outcome = self._changed(start, run, trusted)
            trained = ModelVersion(copy.deepcopy(start.model)) if trained is start else trained
            self._remember(member, run, outcome, period)
            outcomes.append(self._decided(member, replace(run, outcome=outcome))[0])
        return trained, tuple(outcomes)

    def repair(
        self, version: ModelVersion, trusted: Batch, *, period: int, window: Labelled | None = None
    ) -> tuple[ModelVersion, tuple[Outcome, ...]]:
        """Run each repair on the result of the one before it; return `version` itself when nothing was changed.

        `window` is what the candidate was trained on.
        """
        outcomes = []
        for member in self._due("repair"):
            run = self._run(member, "candidate", self._tensors(version, trusted, window), period)
            changed, outcome = self._changed(version, run, trusted)
            version = version if changed is None else changed
            self._remember(member, run, outcome, period)
            outcomes.append(self._decided(member, replace(run, outcome=outcome))[0])
        return version, tuple(outcomes)

    def inspect(
        self,
        version: ModelVersion,
        trusted: Batch,
        *,
        period: int,
        subject: About,
        window: Labelled | None = None,
        at_promotion: bool = False,
    ) -> tuple[Outcome, ...]:
        """Run each inspector on `version`, which is the `subject`; `window` is what a candidate was trained on.

        With `at_promotion` run those that are asked before a promotion only, else the others.
        """
        tensors = self._tensors(version, trusted, window)
        outcomes = []
        for member in self._due("inspector"):
            if (member.use.when == "at-promotion") == at_promotion:
                run = self._run(member, subject, tensors, period, subject)
                self._remember(member, run, run.outcome, period)
                outcomes.append(self._decided(member, run)[0])
        return tuple(outcomes)

    def screen(
        self,
        version: ModelVersion,
        images: Tensor,
        trusted: Batch,
        *,
        period: int,
        about: About = "champion",
        ordinal: int | None = None,
    ) -> ScreenRun:
        """Return which of `images` float32 (N, C, H, W) any screen refuses, and what screens answer to others.

        Where `version` does not serve, `about` says what it is; with its `ordinal` its history is as if it served.
        """
        tensors = self._tensors(version, trusted) | {"incoming": images}
        flagged = torch.zeros(len(images), dtype=torch.bool)
        answers = torch.full((len(images),), -1)
        outcomes = []
        for member in self._due("screen"):
            run = self._run(member, "serving", tensors, period, about, serving=ordinal)
            flagged = flagged | run.tensors.get("flagged", torch.zeros_like(flagged))
            answers = torch.where(answers < 0, run.tensors.get("answers", answers), answers)
            outcome = run.outcome
            if self._refuse_unscreened and outcome.status == "timeout":
                flagged = torch.ones_like(flagged)
                outcome = outcome.model_copy(update={"reason": f"{outcome.reason}; all images are refused"})
            outcomes.append(outcome)
        return ScreenRun(flagged.to(images.device), answers.to(images.device), tuple(outcomes))

    def _changed(self, version: ModelVersion, run: DefenseRun, trusted: Batch) -> tuple[ModelVersion | None, Outcome]:
        """Return the model with the weights of a repair or a training, None where there is none, and the outcome."""
        if run.outcome.status != "changed":
            return version if run.outcome.status == "passed" else None, run.outcome
        model = copy.deepcopy(version.model)
        load_into(model, run.tensors)
        if answers_finitely(model.eval(), trusted.images):
            return ModelVersion(model), run.outcome
        return None, broken(run.outcome)

    def _decided(self, member: _Member, run: DefenseRun, keep: Tensor | None = None) -> tuple[Outcome, Any]:
        """Return the outcome with its requests decided, and which rows are kept from now on."""
        if not run.outcome.requests or self._grant is None:
            return run.outcome, keep
        asked, keep = self._grant(member.name, member.use, run, keep)
        return run.outcome.model_copy(update={"requests": asked}), keep

    def _facts(self, use: Use) -> DefenseFacts:
        """A stranger's defense is imported and constructed in a process of its own only."""
        if self._processes is None or not catalog.is_third_party("defenses", use.use):
            return facts_of(use.use, use.options)
        return self._processes.facts(use.use, use.options)

    def _expect_same_code(self) -> None:
        """Raise `ChangedCodeError` when a stranger's module was edited since: each call imports it anew."""
        if self._processes is None:
            return
        found = changes(self._code, _code_of(self._members))
        if found:
            raise ChangedCodeError(
                "expected the code of defenses to stay as it is while a run is played, got a change of "
                f"{', '.join(found)}; put it back, and go on with the run"
            )

    def _on(self, surface: Surface) -> tuple[_Member, ...]:
        return tuple(member for member in self._members if member.facts.surface == surface)

    def _due(self, surface: Surface) -> tuple[_Member, ...]:
        return tuple(member for member in self._on(surface) if member.use.due(self._period, self._alarm))

    def _tensors(self, version: ModelVersion, trusted: Batch, window: Labelled | None = None) -> dict[str, Tensor]:
        weights = {WEIGHT + name: value for name, value in version.weights.items()}
        given = weights | {"trusted.images": trusted.images, "trusted.labels": trusted.labels}
        if window is None:
            return given
        known = {f"window.{name}": getattr(window, name, None) for name in ("images", "labels", "periods", "fresh")}
        return given | {name: value for name, value in known.items() if value is not None}

    def _remember(self, member: _Member, run: DefenseRun, outcome: Outcome, period: int) -> None:
        """Keep the state of a result that was used; the outcome may say that it was not."""
        if run.state is not None and outcome.status != "failed":
            self.memory.write(member.name, run.state, period)

    def _run(
        self,
        member: _Member,
        subject: Subject,
        given: Mapping[str, Tensor],
        period: int,
        about: About = "candidate",
        recipe: RecipeFacts | None = None,
        serving: int | None = None,
    ) -> DefenseRun:
        facts, state = member.facts, self.memory.of(member.name)
        looks = self._past if facts.looks_back else None
        history, blobs = (HistoryFacts(), {}) if looks is None else looks(facts, serving)
        tensors = {**given, **{STATE + name: value for name, value in state.tensors.items()}, **blobs}
        job = Job(
            name=member.name,
            use=member.use.use,
            options=member.use.options,
            surface=facts.surface,
            subject=subject,
            architecture=self._architecture,
            device=str(self._device),
            period=period,
            seed=seed_for(self._seed, "defense", member.name, facts.surface, period),
            passes=self._passes,
            about=about,
            remembers=facts.remembers,
            remembered=(dict(state.values), state.period),
            history=history,
            recipe=recipe,
        )
        self._expect_same_code()
        started = time.monotonic()
        try:
            if member.built is not None:
                return run_with(member.built, job, tensors)
            if self._processes is None:
                return run_job(job, tensors)
            patience = _PATIENCE if self._passes is not None and facts.tells_passes else 1.0
            return self._processes.run(job, tensors, patience=patience)
        finally:
            spent = time.monotonic() - started
            self.seconds_by_name[member.name] = self.seconds_by_name.get(member.name, 0.0) + spent


def _code_of(members: tuple[_Member, ...]) -> Digests:
    strangers = [member for member in members if catalog.is_third_party("defenses", member.use.use)]
    return {name: digest for one in strangers for name, digest in code_of_use("defenses", one.use).items()}


def _members(defenses: Sequence[Use], facts: Callable[[Use], DefenseFacts]) -> tuple[_Member, ...]:
    seen: dict[str, int] = {}
    found = []
    for use in defenses:
        seen[use.use] = count = seen.get(use.use, 0) + 1
        name = use.use if count == 1 else f"{use.use}-{count}"
        found.append(_Member(name, DefenseUse.model_validate(use.model_dump()), facts(use)))
    return tuple(found)
