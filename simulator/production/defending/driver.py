"""Runs a scenario's defenses, surface by surface, and returns the outcome of each for the record."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from defenses.base import Defense, Filter, Surface
from simulator.batch import Batch
from simulator.production.defending.job import WEIGHT, Job, Subject, build, run_job, run_with
from simulator.production.defending.results import DefenseRun
from simulator.production.defending.runner import InWorker
from simulator.production.training.weights import load_into
from simulator.records import Outcome
from simulator.scenario.model import Use
from simulator.seeds import seed_for
from simulator.tensors import ModelVersion


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
    surface: Surface
    built: Defense | None = None  # a filter made for this very window: it runs in this process


@final
class Defenders:
    """The scenario's defenses, in its order.

    `architecture` rebuilds the network (`VersionPayload`); `seconds` is the time limit of a call, in a worker only;
    `threads` are the worker's; `seed` is the lineage's. A defense is named as in the scenario, the second of the same
    name with `-2` appended, and built anew for every call. Its constructor also runs once here, in this process, to
    check its options.

    A defense that raises, hangs, crashes, or returns something unusable gives an outcome `failed`; what it returned is
    not used: rows stay, the model stays, nothing is flagged. The caller's models and batches are never changed.
    """

    def __init__(
        self,
        defenses: tuple[Use, ...],
        *,
        architecture: Mapping[str, Any],
        device: torch.device,
        seconds: float,
        in_process: bool,
        threads: int,
        seed: int,
    ) -> None:
        self._members = _members(defenses)
        self._architecture = dict(architecture)
        self._device = device
        self._seed = seed
        #: wall-clock seconds spent so far by defense, the start of its worker included
        self.seconds_by_name: dict[str, float] = {}
        uses = tuple((use.use, use.options) for use in defenses)
        self._worker = None if in_process else InWorker(uses, seconds=seconds, threads=threads)

    def close(self) -> None:
        """End the worker, if one was started."""
        if self._worker is not None:
            self._worker.close()

    def has(self, surface: Surface) -> bool:
        """Return whether any defense works on `surface`."""
        return bool(self._on(surface))

    def filter(
        self,
        version: ModelVersion,
        window: Batch,
        trusted: Batch,
        *,
        period: int,
        subject: Subject,
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
        tensors = self._tensors(version, trusted) | {"window.images": window.images, "window.labels": window.labels}
        built = [_Member(name, Use(use=name), "filter", one) for name, one in (extra or {}).items()]
        runs = [self._run(member, "window", tensors, period) for member in (*self._on("filter"), *built)]
        labels = window.labels.cpu()
        keep = torch.ones(len(window), dtype=torch.bool)
        outcomes = []
        for run in runs:
            keep, outcome = _narrow(keep, labels, run)
            evidence = outcome.evidence | {"features_of": subject}
            outcomes.append(outcome.model_copy(update={"evidence": evidence}))
        again = subject == "champion" and any(run.again for run in runs)
        return FilterRun(keep.to(window.labels.device), tuple(outcomes), again)

    def repair(self, version: ModelVersion, trusted: Batch, *, period: int) -> tuple[ModelVersion, tuple[Outcome, ...]]:
        """Run each repair on the result of the one before it; return `version` itself when nothing was changed."""
        outcomes = []
        for member in self._on("repair"):
            run = self._run(member, "candidate", self._tensors(version, trusted), period)
            if run.outcome.status == "changed":
                model = copy.deepcopy(version.model)
                load_into(model, run.tensors)
                version = ModelVersion(model.eval())
            outcomes.append(run.outcome)
        return version, tuple(outcomes)

    def inspect(self, version: ModelVersion, trusted: Batch, *, period: int, subject: Subject) -> tuple[Outcome, ...]:
        """Run each inspector on `version`, which is the `subject`."""
        tensors = self._tensors(version, trusted)
        return tuple(self._run(member, subject, tensors, period).outcome for member in self._on("inspector"))

    def screen(
        self, version: ModelVersion, images: Tensor, trusted: Batch, *, period: int
    ) -> tuple[Tensor, tuple[Outcome, ...]]:
        """Return which of `images` float32 (N, C, H, W) any screen refuses, bool (N,) on their device."""
        tensors = self._tensors(version, trusted) | {"incoming": images}
        flagged = torch.zeros(len(images), dtype=torch.bool)
        outcomes = []
        for member in self._on("screen"):
            run = self._run(member, "serving", tensors, period)
            flagged = flagged | run.tensors.get("flagged", torch.zeros_like(flagged))
            outcomes.append(run.outcome)
        return flagged.to(images.device), tuple(outcomes)

    def _on(self, surface: Surface) -> tuple[_Member, ...]:
        return tuple(member for member in self._members if member.surface == surface)

    def _tensors(self, version: ModelVersion, trusted: Batch) -> dict[str, Tensor]:
        weights = {WEIGHT + name: value for name, value in version.weights.items()}
        return weights | {"trusted.images": trusted.images, "trusted.labels": trusted.labels}

    def _run(self, member: _Member, subject: Subject, tensors: Mapping[str, Tensor], period: int) -> DefenseRun:
        job = Job(
            name=member.name,
            use=member.use.use,
            options=member.use.options,
            surface=member.surface,
            subject=subject,
            architecture=self._architecture,
            device=str(self._device),
            period=period,
            seed=seed_for(self._seed, "defense", member.name, member.surface, period),
        )
        started = time.monotonic()
        try:
            if member.built is not None:
                return run_with(member.built, job, tensors)
            return run_job(job, tensors) if self._worker is None else self._worker.run(job, tensors)
        finally:
            spent = time.monotonic() - started
            self.seconds_by_name[member.name] = self.seconds_by_name.get(member.name, 0.0) + spent


def _members(defenses: tuple[Use, ...]) -> tuple[_Member, ...]:
    seen: dict[str, int] = {}
    found = []
    for use in defenses:
        seen[use.use] = count = seen.get(use.use, 0) + 1
        name = use.use if count == 1 else f"{use.use}-{count}"
        found.append(_Member(name, use, build(use.use, use.options).surface))
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
