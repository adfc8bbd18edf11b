"""Asks one defense about models that are there already, one after another, as a run asks it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import torch
from torch import Tensor

from defenses.base import Rows, Surface
from defenses.base import Subject as About
from simulator.errors import ScenarioError
from simulator.production.auditing.asking import Asking, accuracy_in, tensors_of
from simulator.production.auditing.finding import NO_TRUSTED, NOTHING, Finding
from simulator.production.auditing.history import Earlier, as_history
from simulator.production.auditing.subject import Model
from simulator.production.defending.combined import broken, with_cost_of
from simulator.production.defending.examine import examined
from simulator.production.defending.facts import DefenseFacts
from simulator.production.defending.job import Job, Subject
from simulator.production.defending.memory import STATE, Memory
from simulator.production.defending.results import DefenseRun
from simulator.records import Outcome
from simulator.scenario.model import Use
from simulator.seeds import generator, seed_for

#: surface -> what a job of it is asked about, and the context's subject
_ASKED: Final[Mapping[Surface, tuple[Subject, About]]] = {
    "repair": ("candidate", "candidate"),
    "inspector": ("candidate", "candidate"),
    "screen": ("serving", "champion"),
}
_UNDECIDED: Final = "an audit decides nothing"


@final
@dataclass(frozen=True, slots=True)
class Material:
    """What an audit has beside the models: the `trusted` images and the unlabelled `images` to screen, if any."""

    trusted: Rows | None = None
    images: Tensor | None = None

    def rows(self, model: Model) -> Rows:
        """Return the trusted images, none of the model's size where none are given."""
        if self.trusted is not None:
            return self.trusted
        return Rows(torch.zeros(0, *model.architecture.images), torch.zeros(0, dtype=torch.int64))


def halves(labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the places of two halves, drawn by lot: each has half of every class, give or take one image.

    Every second row would, in a file where classes take turns, be of half of the classes alone.

    >>> labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    >>> [labels[half].sort().values.tolist() for half in halves(labels)]
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    order = torch.randperm(len(labels), generator=generator(seed, "halves of the trusted images"))
    by_class = order[labels.cpu()[order].argsort(stable=True)]
    return by_class[::2].sort().values, by_class[1::2].sort().values


def audit_facts(use: Use) -> DefenseFacts:
    """Return the facts of a defense that can audit, or raise `ScenarioError`."""
    facts = examined(use, in_process=False)
    if facts.surface in _ASKED:
        return facts
    raise ScenarioError(
        f"expected --defense to be an inspector, a repair or a screen, got the {facts.surface} '{use.use}', which "
        "looks at the window of an update; name another"
    )


@final
class Auditor:
    """One defense, asked about models in turn: what it remembers goes from each to the next.

    `use` is named `name` in outcomes.
    """

    def __init__(self, name: str, use: Use, material: Material, asking: Asking, *, seed: int = 0) -> None:
        self._name = name
        self._use = use
        self._material = material
        self._asking = asking
        self._seed = seed
        self._memory = Memory()
        self.facts = audit_facts(use)

    def audit(self, model: Model, earlier: Sequence[Earlier], accuracy: float | None) -> Finding:
        """Ask about `model`, whose accuracy on the trusted images is known, with the `earlier` versions as history."""
        started = time.monotonic()
        measured = {} if accuracy is None else {"accuracy": accuracy}
        if self.facts.needs_trusted and self._material.trusted is None:
            return Finding(self._skipped(NO_TRUSTED), 0.0, measured)
        if self.facts.surface == "screen":
            found = self._screened(model, earlier)
        else:
            run = self._asked(model, earlier, self._material.rows(model))
            found = self._repaired(model, run) if self.facts.surface == "repair" else Finding(run.outcome, 0.0)
        return replace(found, seconds=time.monotonic() - started, measured={**measured, **found.measured})

    def _repaired(self, model: Model, run: DefenseRun) -> Finding:
        """Measure a repair; one after which the model says nothing has failed."""
        if run.outcome.status != "changed":
            return Finding(run.outcome, 0.0)
        after = self._asking.measure(model, run.tensors, self._material.rows(model))
        if after.outcome.status != "passed":
            return Finding(broken(run.outcome), 0.0)
        changed = sum(int((value != model.weights[name]).sum()) for name, value in run.tensors.items())
        measured: dict[str, float] = {
            "weights": sum(value.numel() for value in run.tensors.values()),
            "weights_changed": changed,
        }
        if (accuracy := accuracy_in(after)) is not None:
            measured["accuracy_after"] = accuracy
        return Finding(run.outcome, 0.0, measured, run.tensors)

    def _screened(self, model: Model, earlier: Sequence[Earlier]) -> Finding:
        """Screen half of the trusted images, where the screen is given the other half; and the images, if any."""
        trusted, images = self._material.rows(model), self._material.images
        given, held_out = halves(trusted.labels, self._seed)
        todo = [("trusted", trusted.images[held_out], trusted.take(given))] if len(trusted) > 1 else []
        todo += [("images", images, trusted)] if images is not None else []
        finding = Finding(self._skipped(NOTHING), 0.0)
        for name, incoming, rows in todo:
            run = self._asked(model, earlier, rows, incoming)
            measured = dict(finding.measured)
            if "flagged" in run.tensors:
                measured |= {name: len(incoming), f"{name}_refused": int(run.tensors["flagged"].sum())}
            finding = Finding(with_cost_of(finding.outcome, run.outcome), 0.0, measured)
        return finding

    def _asked(
        self, model: Model, earlier: Sequence[Earlier], trusted: Rows, incoming: Tensor | None = None
    ) -> DefenseRun:
        """Return what one call comes to, and keep what the defense wants to remember."""
        facts, state = self.facts, self._memory.of(self._name)
        tensors = tensors_of(model.weights, trusted)
        tensors |= {STATE + name: value for name, value in state.tensors.items()}
        asked = {"remembers": facts.remembers, "remembered": (dict(state.values), state.period)}
        if facts.looks_back:
            history, blobs = as_history(earlier, facts, model, serves=facts.surface == "screen")
            asked["history"] = history
            tensors |= blobs
        if incoming is not None:
            tensors["incoming"] = incoming
        run = self._asking.run(self._job(model).model_copy(update=asked), model, tensors)
        if run.state is not None:
            self._memory.write(self._name, run.state, model.place.period)
        undecided = [one.model_copy(update={"why": _UNDECIDED}) for one in run.outcome.requests]
        return replace(run, outcome=run.outcome.model_copy(update={"requests": undecided})) if undecided else run

    def _job(self, model: Model) -> Job:
        surface, period = self.facts.surface, model.place.period
        subject, about = _ASKED[surface]
        return Job(
            name=self._name,
            use=self._use.use,
            options=self._use.options,
            surface=surface,
            subject=subject,
            architecture=model.architecture.model_dump(mode="json"),
            device="cpu",
            period=period,
            seed=seed_for(self._seed, "defense", self._name, surface, period),
            about=about,
        )

    def _skipped(self, reason: str) -> Outcome:
        surface = self.facts.surface
        subject = _ASKED[surface][0]
        return Outcome(surface=surface, name=self._name, status="skipped", reason=reason, subject=subject)
