"""Runs a scenario's defenses, surface by surface, and returns the outcome of each for the record."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from defenses.base import Defense, Filter, Rows, Surface
from defenses.base import Subject as About
from simulator.batch import Batch
from simulator.errors import ChangedCodeError
from simulator.production.defending.facts import DefenseFacts, facts_of
from simulator.production.defending.history import HistoryFacts
from simulator.production.defending.job import WEIGHT, Job, Subject, run_job, run_with
from simulator.production.defending.memory import STATE, Memory
from simulator.production.defending.results import DefenseRun
from simulator.production.defending.runner import InProcesses, Limits
from simulator.production.training.device import laid_out_for
from simulator.production.training.weights import load_into
from simulator.records import Outcome
from simulator.scenario import catalog
from simulator.scenario.code import Digests
from simulator.scenario.identity import changes, code_of_use
from simulator.scenario.model import Use
from simulator.seeds import seed_for
from simulator.tensors import ModelVersion

#: how much longer a call may take whose passes are limited, so that the clock ends only what hangs
_PATIENCE = 10.0
#: of a filter that was made for a window
_OF_A_FILTER = DefenseFacts(surface="filter", needs_trusted=False, defaults={})
#: images and labels, perhaps with the periods in which they arrived and whether they are fresh
Labelled = Batch | Rows
#: what becomes of a repair after which the model says nothing
_BROKEN = {
    "status": "failed",
    "reason": "expected the repaired model to answer with finite numbers, got others for some trusted image",
    "evidence": {},
}


@dataclass(frozen=True, slots=True)
class FilterRun:
    """What all filters together keep: `keep` bool (N,) on the window's device, and each filter's outcome.

    `again`: some filter asks for a second look, with the candidate's features.
    """

    keep: Tensor
    outcomes: tuple[Outcome, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    use: Use
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

    A defense that raises, crashes, or returns something unusable gives an outcome `failed`, one that reaches a limit of
    time or passes `timeout`; what it returned is not used: rows stay, the model stays, nothing is flagged. The
    caller's models and batches are never changed.
    """

    def __init__(
        self,
        defenses: tuple[Use, ...],
        *,
        architecture: Mapping[str, Any],
        device: torch.device,
        limits: Limits,
        in_process: bool,
        threads: int,
        seed: int,
        passes: int | None = None,
        refuse_unscreened: bool = False,
        past: Callable[[DefenseFacts], tuple[HistoryFacts, dict[str, Tensor]]] | None = None,
    ) -> None:
        cpu = replace(limits, confined=limits.confined and device.type == "cpu")
        uses = tuple(use.use for use in defenses)
        self._processes = None if in_process else InProcesses(uses, cpu, threads=threads, architecture=architecture)
        self._passes = passes
        self._refuse_unscreened = refuse_unscreened
        self._past = past
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
    ) -> FilterRun:
        """Run the filters on the whole window with the features of `version`.

        `subject` says whose features they are; only after a look with the champion's may a filter ask for a second.
        `extra` are filters already built for this window, by name, for labelled upper bounds: they run in this process,
        after the others.

        A row stays when every filter keeps it, with two exceptions: a filter that would leave fewer than two rows has
        failed; a class that would lose its last row keeps all that were left of it, since a model trained without a
        class forgets it, and the outcome says so.
        """
        tensors = self._tensors(version, trusted, window)
        built = [_Member(name, Use(use=name), _OF_A_FILTER, built=one) for name, one in (extra or {}).items()]
        labels = window.labels.cpu()
        keep, runs = torch.ones(len(window), dtype=torch.bool), []
        outcomes = []
        for member in (*self._on("filter"), *built):
            runs.append(run := self._run(member, "window", tensors, period, subject))
            keep, outcome = _narrow(keep, labels, run)
            self._remember(member, run, outcome, period)
            evidence = outcome.evidence | {"features_of": subject}
            outcomes.append(outcome.model_copy(update={"evidence": evidence}))
        again = subject == "champion" and any(run.again for run in runs)
        return FilterRun(keep.to(window.labels.device), tuple(outcomes), again)

    def repair(
        self, version: ModelVersion, trusted: Batch, *, period: int, window: Labelled | None = None
    ) -> tuple[ModelVersion, tuple[Outcome, ...]]:
        """Run each repair on the result of the one before it; return `version` itself when nothing was changed.

        `window` is what the candidate was trained on.
        """
        outcomes = []
        for member in self._on("repair"):
            run = self._run(member, "candidate", self._tensors(version, trusted, window), period)
            outcome = run.outcome
            if outcome.status == "changed":
                model = copy.deepcopy(version.model)
                load_into(model, run.tensors)
                if answers_finitely(model.eval(), trusted.images):
                    version = ModelVersion(model)
                else:
                    outcome = outcome.model_copy(update=_BROKEN)
            self._remember(member, run, outcome, period)
            outcomes.append(outcome)
        return version, tuple(outcomes)

    def inspect(
        self, version: ModelVersion, trusted: Batch, *, period: int, subject: About, window: Labelled | None = None
    ) -> tuple[Outcome, ...]:
        """Run each inspector on `version`, which is the `subject`; `window` is what a candidate was trained on."""
        tensors = self._tensors(version, trusted, window)
        outcomes = []
        for member in self._on("inspector"):
            run = self._run(member, subject, tensors, period, subject)
            self._remember(member, run, run.outcome, period)
            outcomes.append(run.outcome)
        return tuple(outcomes)

    def screen(
        self, version: ModelVersion, images: Tensor, trusted: Batch, *, period: int
    ) -> tuple[Tensor, tuple[Outcome, ...]]:
        """Return which of `images` float32 (N, C, H, W) any screen refuses, bool (N,) on their device."""
        tensors = self._tensors(version, trusted) | {"incoming": images}
        flagged = torch.zeros(len(images), dtype=torch.bool)
        outcomes = []
        for member in self._on("screen"):
            run = self._run(member, "serving", tensors, period, "champion")
            flagged = flagged | run.tensors.get("flagged", torch.zeros_like(flagged))
            outcome = run.outcome
            if self._refuse_unscreened and outcome.status == "timeout":
                flagged = torch.ones_like(flagged)
                outcome = outcome.model_copy(update={"reason": f"{outcome.reason}; all images are refused"})
            outcomes.append(outcome)
        return flagged.to(images.device), tuple(outcomes)

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
    ) -> DefenseRun:
        facts, state = member.facts, self.memory.of(member.name)
        history, blobs = (HistoryFacts(), {}) if self._past is None or not facts.looks_back else self._past(facts)
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


@torch.no_grad()
def answers_finitely(model: nn.Module, images: Tensor) -> bool:
    """Return whether the model in eval mode gives finite logits for a sample of `images`: finite weights may not do."""
    return bool(torch.isfinite(model(laid_out_for(model, images[:64]))).all()) if len(images) else True


def _code_of(members: tuple[_Member, ...]) -> Digests:
    strangers = [member for member in members if catalog.is_third_party("defenses", member.use.use)]
    return {name: digest for one in strangers for name, digest in code_of_use("defenses", one.use).items()}


def _members(defenses: tuple[Use, ...], facts: Callable[[Use], DefenseFacts]) -> tuple[_Member, ...]:
    seen: dict[str, int] = {}
    found = []
    for use in defenses:
        seen[use.use] = count = seen.get(use.use, 0) + 1
        name = use.use if count == 1 else f"{use.use}-{count}"
        found.append(_Member(name, use, facts(use)))
    return tuple(found)


def _narrow(keep: Tensor, labels: Tensor, run: DefenseRun) -> tuple[Tensor, Outcome]:
    """Return `keep` after one filter, and the filter's outcome, amended where some of its rows could not be dropped."""
    outcome = run.outcome
    left = keep & run.tensors.get("keep", torch.ones_like(keep))
    if bool((left == keep).all()):
        return keep, outcome
    if int(left.sum()) < 2:
        failed = {"status": "failed", "reason": "left fewer than two rows to train on", "evidence": {}}
        return keep, outcome.model_copy(update=failed)
    emptied = sorted(set(labels[keep].tolist()) - set(labels[left].tolist()))
    if not emptied:
        return left, outcome
    left = left | (keep & torch.isin(labels, torch.tensor(emptied)))
    reason = f"{outcome.reason}, except all of class {', '.join(map(str, emptied))}: a class keeps rows to train on"
    evidence = outcome.evidence | {"classes_not_emptied": emptied}
    return left, outcome.model_copy(update={"reason": reason, "evidence": evidence})
