"""What the defenses of a surface come to together, and what becomes of a result that leaves too little behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulator.production.defending.results import DefenseRun
from simulator.production.training.device import laid_out_for
from simulator.records import Outcome


@dataclass(frozen=True, slots=True)
class FilterRun:
    """What all filters together keep: `keep` bool (N,) on the window's device, and each filter's outcome.

    `again`: some filter asks for a second look, with the candidate's features.
    """

    keep: Tensor
    outcomes: tuple[Outcome, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class ScreenRun:
    """What all screens together decide, on the images' device: `flagged` bool (N,), which images are refused.

    `answers` int64 (N,): the class that a screen answers in the model's place, the first that does; -1 where none does.
    """

    flagged: Tensor
    answers: Tensor
    outcomes: tuple[Outcome, ...]


def with_cost_of(before: Outcome, outcome: Outcome) -> Outcome:
    """Return an outcome with the passes of a call before it added; the trusted images are those of the last call."""
    added = {name: before.cost.get(name, 0) + count for name, count in outcome.cost.items() if name != "trusted_images"}
    return outcome.model_copy(update={"cost": {**outcome.cost, **added}})


def of_two_calls(first: Sequence[Outcome], second: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Return the outcomes of defenses that were called twice in a stage: the later verdicts, all that was asked for.

    Passes are added. Where a filter's second look did not apply, its first verdict stands.
    """
    before = {one.name: one for one in first}
    return tuple(one if one.name not in before else _of_two(before[one.name], one) for one in second)


def _of_two(first: Outcome, second: Outcome) -> Outcome:
    verdict = with_cost_of(first, second)
    if second.status == "skipped" and second.surface == "filter":
        verdict = first.model_copy(update={"cost": verdict.cost})
    return verdict.model_copy(update={"requests": [*first.requests, *second.requests]})


def narrow(keep: Tensor, labels: Tensor, run: DefenseRun) -> tuple[Tensor, Outcome]:
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


@torch.no_grad()
def answers_finitely(model: nn.Module, images: Tensor) -> bool:
    """Return whether the model in eval mode gives finite logits for a sample of `images`: finite weights may not do."""
    return bool(torch.isfinite(model(laid_out_for(model, images[:64]))).all()) if len(images) else True


def broken(outcome: Outcome) -> Outcome:
    """Return the outcome of a repair or a training after which the model says nothing."""
    made = "repaired" if outcome.surface == "repair" else "trained"
    reason = f"expected the {made} model to answer with finite numbers, got others for some trusted image"
    return outcome.model_copy(update={"status": "failed", "reason": reason, "evidence": {}})
