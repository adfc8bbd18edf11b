"""The result of one call of a defense, and whether what it returned is usable: types, shapes and finite numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from defenses.base import FilterResult, InspectorResult, RepairResult, ScreenResult, State, TrainingResult
from simulator.production.defending.asked import read_requests
from simulator.production.defending.memory import read_state
from simulator.production.defending.shown import SHOWN, Shown, shown_of
from simulator.production.defending.unusable import Unusable, json_values
from simulator.records import Outcome
from simulator.tensors import weights_of

#: characters of evidence as JSON; it is stored with every version
LARGEST_EVIDENCE = 50_000


@final
@dataclass(frozen=True, slots=True)
class DefenseRun:
    """What one call of a defense came to: `outcome` for the record, the rest for what follows in the period.

    `tensors`, on the CPU, are a filter's `keep` bool (N,), a screen's `flagged` bool (N,) and perhaps `answers` int64
    (N,), or the weights of a changed model by name; none when the result was not usable. `again`: a filter asks for a
    second look. `state` is what it wants to remember, checked; None: what it remembers stays as it is. `purges`: the
    rows of the window, bool (N,), that a request of the outcome names, by the request's place.
    """

    outcome: Outcome
    tensors: dict[str, Tensor] = field(default_factory=dict)
    again: bool = False
    state: State | None = None
    purges: dict[int, Tensor] = field(default_factory=dict)


def read_result(
    result: Any,
    outcome: Outcome,
    rows: int,
    weights: Mapping[str, Tensor],
    *,
    classes: int | None = None,
    remembers: bool = False,
) -> DefenseRun:
    """Return `outcome`, which says which defense was asked about what, completed by its `result`; or raise `Unusable`.

    `rows` were in the window or incoming; `weights` are those the defense was given, by name. To the defense's own
    evidence come `rows` and `dropped` or `refused`, or `score` and `threshold`, and `shown`. `classes`: how many there
    are, None: not known. `remembers`: whether the class of the defense says so.
    """
    run = read_surface(result, outcome, rows, weights, classes)
    shown = shown_of(result, rows, classes)
    return with_the_rest(run, result.state, shown, result.requests, rows, remembers=remembers)


def with_the_rest(
    run: DefenseRun, state: Any, shown: Shown, requests: Any, rows: int, *, remembers: bool
) -> DefenseRun:
    """Return `run` with what every surface may return beside its verdict; or raise `Unusable`."""
    if SHOWN in run.outcome.evidence:
        raise Unusable(f"expected evidence without '{SHOWN}', which the platform adds, got it; rename the key")
    asked, purges = read_requests(requests, run.outcome.surface, rows)
    outcome = run.outcome.model_copy(update={"evidence": run.outcome.evidence | shown.evidence(), "requests": asked})
    return replace(run, outcome=outcome, state=read_state(state, outcome.surface, remembers=remembers), purges=purges)


def read_surface(
    result: Any, outcome: Outcome, rows: int, weights: Mapping[str, Tensor], classes: int | None = None
) -> DefenseRun:
    """Return `outcome` completed by the verdict of a `result`: see `read_result`."""
    match outcome.surface, result:
        case "filter", FilterResult():
            return _read_filter(result, outcome, rows)
        case ("repair", RepairResult()) | ("training", TrainingResult()):
            return _read_model(result, outcome, weights)
        case "inspector", InspectorResult():
            return _read_inspector(result, outcome)
        case "screen", ScreenResult():
            return _read_screen(result, outcome, rows, classes)
    raise Unusable(f"expected a {outcome.surface.capitalize()}Result, got {type(result).__name__}")


def check_unaltered(now: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> None:
    """Raise `Unusable` when a tensor in `now` is not the one of its name in `before`."""
    for name in sorted(now):
        value, kept = now[name], before[name]
        if value.shape != kept.shape or value.dtype != kept.dtype or not torch.equal(value, kept.to(value.device)):
            raise Unusable(f"expected its inputs to be left alone, got {name} changed; work on a copy")


def _read_filter(result: FilterResult, outcome: Outcome, rows: int) -> DefenseRun:
    evidence, keep = _evidence(result.evidence), _mask("keep", result.keep, rows)
    if not isinstance(result.again, bool):
        raise Unusable(f"expected again to be True or False, got {type(result.again).__name__}")
    dropped = int((~keep).sum())
    reason = f"dropped {dropped} of {rows} rows" if dropped else f"kept all {rows} rows"
    evidence |= {"rows": rows, "dropped": dropped}
    found = _completed(outcome, "changed" if dropped else "passed", reason, evidence)
    return DefenseRun(found, {"keep": keep}, result.again)


def _read_screen(result: ScreenResult, outcome: Outcome, rows: int, classes: int | None) -> DefenseRun:
    evidence, flagged = _evidence(result.evidence), _mask("flagged", result.flagged, rows)
    refused = int(flagged.sum())
    reason = f"refused {refused} of {rows} images"
    evidence |= {"rows": rows, "refused": refused}
    if result.answers is None:
        completed = _completed(outcome, "flagged" if refused else "passed", reason, evidence)
        return DefenseRun(completed, {"flagged": flagged})
    answers = _answers(result.answers, rows, classes)
    answered = int(((answers >= 0) & ~flagged).sum())
    evidence |= {"answered": answered}
    status: Literal["passed", "flagged", "changed"] = "changed" if answered else "passed"
    completed = _completed(outcome, "flagged" if refused else status, f"{reason}, answered {answered}", evidence)
    return DefenseRun(completed, {"flagged": flagged, "answers": answers})


def _read_inspector(result: InspectorResult, outcome: Outcome) -> DefenseRun:
    evidence = _evidence(result.evidence)
    if not isinstance(result.flagged, bool):
        raise Unusable(f"expected flagged to be True or False, got {type(result.flagged).__name__}; use bool(...)")
    score, threshold = _number("score", result.score), _number("threshold", result.threshold)
    reason = f"score {score + 0.0:.4g} beside a threshold of {threshold + 0.0:.4g}"  # a zero carries no sign
    evidence |= {"score": score, "threshold": threshold}
    return DefenseRun(_completed(outcome, "flagged" if result.flagged else "passed", reason, evidence))


def _read_model(result: RepairResult | TrainingResult, outcome: Outcome, weights: Mapping[str, Tensor]) -> DefenseRun:
    if not isinstance(result.model, nn.Module):
        raise Unusable(f"expected model to be a torch.nn.Module, got {type(result.model).__name__}")
    return read_repaired(weights_of(result.model), result.evidence, outcome, weights)


def read_repaired(
    found: Mapping[str, Tensor], said: Any, outcome: Outcome, weights: Mapping[str, Tensor]
) -> DefenseRun:
    """Return `outcome` completed by the weights `found` in a repaired or trained model, and the evidence `said`."""
    evidence = _evidence(said)
    _check_weights(found, weights)
    changed = sum(not torch.equal(value, weights[name]) for name, value in found.items())
    reason = f"changed {changed} of {len(found)} weight tensors" if changed else "left the model as it was"
    completed = _completed(outcome, "changed" if changed else "passed", reason, evidence)
    return DefenseRun(completed, dict(found) if changed else {})


def _completed(
    outcome: Outcome, status: Literal["passed", "flagged", "changed"], reason: str, evidence: dict[str, Any]
) -> Outcome:
    return outcome.model_copy(update={"status": status, "reason": reason, "evidence": evidence})


def _check_weights(found: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    if found.keys() != weights.keys():
        odd = sorted(found.keys() ^ weights.keys())[0]
        raise Unusable(f"expected the model's own architecture, got another: weight '{odd}' is not in both")
    for name in sorted(found):  # a reason must not depend on the order in which tensors travelled
        value, before = found[name], weights[name]
        if value.shape != before.shape or value.dtype != before.dtype:
            raise Unusable(
                f"expected weight '{name}' to be {before.dtype} of shape {tuple(before.shape)}, "
                f"got {value.dtype} of {tuple(value.shape)}"
            )
        if not torch.isfinite(value).all():
            raise Unusable(f"expected weight '{name}' to be finite, got NaN or infinity")


def _mask(name: str, value: Any, rows: int) -> Tensor:
    if isinstance(value, Tensor) and value.dtype == torch.bool and tuple(value.shape) == (rows,):
        return value.detach().cpu()
    got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise Unusable(f"expected {name} to be a bool tensor of shape ({rows},), got {got}")


def _answers(value: Any, rows: int, classes: int | None) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype != torch.int64 or tuple(value.shape) != (rows,):
        got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise Unusable(f"expected answers to be None or an int64 tensor of shape ({rows},), got {got}")
    found = value.detach().cpu()
    if rows and (int(found.min()) < -1 or (classes is not None and int(found.max()) >= classes)):
        most = "the number of classes" if classes is None else classes
        raise Unusable(f"expected answers from -1 to below {most}, got {int(found.min())} to {int(found.max())}")
    return found


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Unusable(f"expected {name} to be a number, got {type(value).__name__}") from None
    if not math.isfinite(number):
        raise Unusable(f"expected {name} to be finite, got {number}")
    return number


def _evidence(value: Any) -> dict[str, Any]:
    found = json_values("evidence", value)
    size = len(json.dumps(found, ensure_ascii=False))
    if size > LARGEST_EVIDENCE:
        raise Unusable(f"expected evidence of at most {LARGEST_EVIDENCE} characters, got {size}; shorten it")
    return found
