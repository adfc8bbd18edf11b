"""One call of one defense, in whichever process: its context, its seeds, its cost, and what came of it."""

from __future__ import annotations

import copy
import errno
import random
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from defenses.base import Context, Defense, DoesNotApply, History, Rows, State, Surface
from defenses.base import Subject as About
from simulator.errors import PluginError, text_of
from simulator.guard.place import name_and_line_of, print_traceback
from simulator.production.defending.history import HistoryFacts, history_of, is_blob
from simulator.production.defending.memory import STATE
from simulator.production.defending.prepared import kept_defense, network_to_load
from simulator.production.defending.recipe import RecipeFacts, recipe_of
from simulator.production.defending.restored import restored
from simulator.production.defending.results import DefenseRun, check_unaltered, read_result
from simulator.production.defending.texts import LONGEST_REASON, short
from simulator.production.defending.unusable import Unusable
from simulator.production.training.device import laid_out_for, seeded
from simulator.production.training.features import feature_layer
from simulator.production.training.weights import load_into
from simulator.records import COSTS, Outcome
from simulator.scenario import catalog
from simulator.seeds import seed_for

#: what a defense is asked about
Subject = Literal["window", "candidate", "challenger", "champion", "serving"]

#: prefix of a weight's name among a job's tensors
WEIGHT = "weight:"

#: surface -> the method that a defense of it has
METHODS: dict[Surface, str] = {
    "filter": "filter", "training": "train", "repair": "repair", "inspector": "inspect", "screen": "screen",
}  # fmt: skip


class Job(BaseModel):
    """Which defense to run on what. Its tensors travel beside it.

    Tensors by name: `weight:NAME` (all of them), `trusted.images`, `trusted.labels`; where there is a window, its
    `window.` `images`, `labels`, `periods`, `fresh`; for a screen `incoming`; what it `remembers` as `state:NAME`; and
    the blobs of its `history`. `about` is the context's subject. `seed` seeds the context's generator. `remembered`
    are the values of its state and when it was written. `passes` limits the call. `recipe`: how to train, for training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    use: str
    options: dict[str, Any]
    surface: Surface
    subject: Subject
    architecture: dict[str, Any]
    device: str
    period: int
    seed: int
    passes: int | None = None
    about: About = "candidate"
    remembers: bool = False
    remembered: tuple[dict[str, Any], int | None] = ({}, None)
    history: HistoryFacts = HistoryFacts()
    recipe: RecipeFacts | None = None

    def failed(self, reason: str) -> DefenseRun:
        """Return what it comes to when nothing usable comes back, for `reason`."""
        outcome = Outcome(surface=self.surface, name=self.name, status="failed", reason=reason, subject=self.subject)
        return DefenseRun(outcome)

    def timed_out(self, reason: str) -> DefenseRun:
        """Return what it comes to when it was ended by a limit that the scenario sets."""
        return DefenseRun(self.failed(reason).outcome.model_copy(update={"status": "timeout"}))


class PassesSpent(BaseException):
    """A call has put more images through the model than it may. Not an `Exception`: a defense must not go on."""


def build(use: str, options: Mapping[str, Any]) -> Defense:
    """Construct a defense, or raise `PluginError`: also for one that is of no surface."""
    defense: Defense = catalog.build("defenses", use, options)
    if getattr(defense, "surface", None) not in METHODS:
        raise PluginError(
            f"expected defense '{use}' to be a Filter, Training, Repair, Inspector or Screen, "
            f"got {type(defense).__name__}; subclass one of them from defenses.base"
        )
    return defense


def run_job(job: Job, tensors: Mapping[str, Tensor]) -> DefenseRun:
    """Run the job's defense, one that was never called, so that none remembers an earlier call."""
    try:
        defense = kept_defense(job.use, job.options) or build(job.use, job.options)
    except PluginError as error:
        return job.failed(short(str(error)))
    return run_with(defense, job, tensors)


def run_with(defense: Defense, job: Job, tensors: Mapping[str, Tensor]) -> DefenseRun:
    """Run `defense` and check what it returns. Nothing it does raises here; what it prints goes to standard error."""
    cost = dict.fromkeys(COSTS, 0) | {"trusted_images": trusted_rows(tensors)}
    try:
        run = _called(defense, job, tensors, cost)
    except DoesNotApply as reason:
        skipped = job.failed(short(str(reason)) or "does not apply").outcome
        run = DefenseRun(skipped.model_copy(update={"status": "skipped"}))
    except Unusable as error:
        run = job.failed(short(str(error)))
    except PassesSpent:
        run = job.timed_out(f"used more passes than defense_passes allows ({job.passes})")
    except KeyboardInterrupt:  # a person's, or so it seems
        raise
    except BaseException as error:  # noqa: BLE001  a third-party defense may raise anything
        run = job.timed_out(told(error)) if _beyond_memory(error) else job.failed(told_with_line(error))
    return replace(run, outcome=run.outcome.model_copy(update={"cost": dict(cost)}))


def _beyond_memory(error: BaseException) -> bool:
    """Return whether an allocation failed in a process whose memory is limited, by which the call reached a limit."""
    if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
        return False
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in text_of(error)


def _called(defense: Defense, job: Job, tensors: Mapping[str, Tensor], cost: dict[str, int]) -> DefenseRun:
    device = torch.device(job.device)
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        stack.enter_context(_seeded_globals(seed_for(job.seed, "globals"), device))  # not the context's own stream
        stack.enter_context(torch.enable_grad())  # as it was before, whatever the defense switches
        weights = {name.removeprefix(WEIGHT): value for name, value in tensors.items() if name.startswith(WEIGHT)}
        model = network_to_load(job.architecture, seed=job.seed)
        load_into(model, weights)
        model.to(device).eval()
        copies = _copies(tensors, model, device)
        _count(model, cost, job.passes)
        history = history_of(job.history, tensors, model, device)
        context = _context(job, model, copies, device, history, _state(job, tensors, device))
        with restored():
            result = getattr(defense, METHODS[job.surface])(context)
        check_unaltered(copies, tensors)
        classes = job.architecture["classes"]
        outcome, rows = job.failed("").outcome, judged_rows(copies)
        return read_result(result, outcome, rows, weights, classes=classes, remembers=job.remembers)


def _copies(tensors: Mapping[str, Tensor], model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """Return private copies of the job's rows by name, images laid out for `model`."""
    apart = {name for name in tensors if name.startswith((WEIGHT, STATE)) or is_blob(name)}
    rows = {name: value for name, value in tensors.items() if name not in apart}
    copied = {name: value.detach().to(device, copy=True).contiguous() for name, value in rows.items()}
    return {name: laid_out_for(model, value) if value.dim() == 4 else value for name, value in copied.items()}


def _state(job: Job, tensors: Mapping[str, Tensor], device: torch.device) -> State:
    """Return private copies of what the defense remembers."""
    found = {name.removeprefix(STATE): value for name, value in tensors.items() if name.startswith(STATE)}
    values, period = copy.deepcopy(job.remembered)
    return State(values, {name: value.to(device, copy=True) for name, value in found.items()}, period)


def _context(
    job: Job,
    model: nn.Module,
    rows: Mapping[str, Tensor],
    device: torch.device,
    history: History,
    state: State,
) -> Context:
    window = [rows.get(f"window.{name}") for name in ("images", "labels", "periods", "fresh")]
    return Context(
        model=model,
        feature_layer=feature_layer(model),
        classes=job.architecture["classes"],
        device=device,
        trusted=Rows(rows["trusted.images"], rows["trusted.labels"]),
        generator=torch.Generator().manual_seed(job.seed),
        window=None if window[0] is None or window[1] is None else Rows(window[0], window[1], *window[2:]),
        incoming=rows["incoming"] if job.surface == "screen" else None,
        period=job.period,
        subject=job.about,
        recipe=None if job.recipe is None else recipe_of(job.recipe),
        history=history,
        state=state,
    )


def _count(model: nn.Module, cost: dict[str, int], limit: int | None) -> None:
    """Count calls of `model`, and of copies made of it: a plain function is shared by `copy.deepcopy`.

    Raise `PassesSpent` in the call after which there were more passes than `limit` (see `Defense.passes`).
    """
    passes = 0

    def note_backward(_: Tensor) -> None:
        cost["backward_passes"] += 1

    def note(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal passes
        samples = len(inputs[0]) if inputs and isinstance(inputs[0], Tensor) else 0
        cost["forward_passes"] += 1
        cost["samples"] += samples
        differentiable = isinstance(output, Tensor) and output.requires_grad
        passes += 3 * samples if differentiable else samples
        if differentiable:
            output.register_hook(note_backward)
        if limit is not None and passes > limit:
            raise PassesSpent

    model.register_forward_hook(note)


@contextmanager
def _seeded_globals(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators inside the block for code that cannot be handed one, such as dropout."""
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with seeded(seed, device):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def told(error: BaseException) -> str:
    """Say what was raised, without what differs from process to process."""
    return short(f"raised {type(error).__name__}: {text_of(error)}".removesuffix(": "))


def told_with_line(error: BaseException) -> str:
    """Say what was raised and by which line of the user's own code, with the file's name alone.

    With `EBBDOOR_TRACEBACK=1` the whole traceback is printed too. Where memory or the stack ran out, which line was
    reached may differ from run to run, so none is named.
    """
    line = ""
    with suppress(Exception):  # a stranger's exception may refuse to be shown
        line = "" if isinstance(error, MemoryError | RecursionError) else short(name_and_line_of(error))
        print_traceback(error)
    return f"{short(told(error), LONGEST_REASON - len(line) - 1)} {line}".rstrip()


def trusted_rows(tensors: Mapping[str, Tensor]) -> int:
    """Return how many trusted images are among the tensors of a job."""
    return len(tensors["trusted.labels"])


def judged_rows(tensors: Mapping[str, Tensor]) -> int:
    """Return how many rows of a job a result must speak of: those of the window, or the incoming ones."""
    return len(tensors.get("window.labels", tensors.get("incoming", ())))
