"""What one call of a defense came to, as values and tensors that travel, and how the parent reads them.

The process that sends them has run a stranger's code, so nothing in them is believed: whatever can be counted or
checked is counted and checked again from the result itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from torch import Tensor

from defenses.base import FilterResult, InspectorResult, ScreenResult, State
from simulator.errors import PluginError
from simulator.production.defending.asked import PURGE, as_requests
from simulator.production.defending.facts import DefenseFacts
from simulator.production.defending.job import WEIGHT, Job, judged_rows, trusted_rows
from simulator.production.defending.memory import STATE
from simulator.production.defending.results import DefenseRun, read_repaired, read_surface, with_the_rest
from simulator.production.defending.shown import SHOWN, read_shown
from simulator.production.defending.texts import cleaned, short
from simulator.production.defending.unusable import Unusable
from simulator.records import COSTS, Outcome

#: statuses under which no result was used
_WITHOUT_RESULT: Final = ("failed", "skipped", "timeout")
_LARGEST_COUNT: Final = 2**53
#: what takes seconds to import: torch's compiler, which comes with any optimizer
SLOW: Final = ("torch._dynamo",)


def as_values(run: DefenseRun) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return `run` as JSON values, and tensors that share no memory."""
    state = None if run.state is None else dict(run.state.values)
    values = {"outcome": run.outcome.model_dump(mode="json"), "again": run.again, "state": state}
    beside = {} if run.state is None else {STATE + name: value for name, value in run.state.tensors.items()}
    beside |= {f"{PURGE}{place}": mask for place, mask in run.purges.items()}
    return values, {name: tensor.clone() for name, tensor in (run.tensors | beside).items()}


def read_answer(job: Job, text: str, found: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> DefenseRun:
    """Return what the answer `text` with the tensors `found` comes to; `given` are the tensors of the job.

    What is no answer to this job is an outcome `failed`.
    """
    try:
        values = json.loads(text)
        return _read(job, values, found, given)
    except Unusable as error:
        return job.failed(short(str(error)))
    except Exception as error:  # noqa: BLE001  a stranger's code may have sent anything
        return job.failed(f"its process sent an answer that cannot be read ({type(error).__name__})")


def read_facts(use: str, text: str) -> DefenseFacts:
    """Return the facts in the answer `text`, or raise the `PluginError` in it."""
    try:
        values = json.loads(text)
        if "failure" not in values:
            return DefenseFacts.model_validate(values["facts"])
        sentence = str(values["failure"]["error"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        sentence = f"defense '{use}': expected its process to say what it is, got {type(error).__name__}; correct it"
    raise PluginError("\n".join(cleaned(line) for line in sentence.splitlines()))


def read_weights(text: str) -> None:
    """Raise `PluginError` where the answer `text`, which came with the weights of a network, says that it has none."""
    try:
        failure = json.loads(text).get("failure")
        sentence = None if failure is None else str(failure["error"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        sentence = f"expected its process to send weights, got {type(error).__name__}"
    if sentence is not None:
        raise PluginError("\n".join(cleaned(line) for line in sentence.splitlines()))


def confinement_of(text: str) -> str | None:
    """Return what an answer says of how its process was confined."""
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        return short(str(json.loads(text)["confined"]))
    return None


def imported_of(text: str, known: Iterable[str]) -> list[str]:
    """Return which of the `known` modules an answer says that its process has imported."""
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        said = json.loads(text)["imported"]
        return [name for name in known if name in said]
    return []


def _read(job: Job, values: Mapping[str, Any], found: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> DefenseRun:
    said = values["outcome"]
    cost = {name: _count(name, said["cost"][name]) for name in COSTS} | {"trusted_images": trusted_rows(given)}
    outcome = job.failed("").outcome.model_copy(update={"cost": cost})
    if said["status"] in _WITHOUT_RESULT:
        reason = short(str(said["reason"])) or "without a reason"
        return DefenseRun(outcome.model_copy(update={"status": said["status"], "reason": reason}))
    evidence = dict(said["evidence"])
    shown = read_shown(evidence.pop(SHOWN, {}))
    results = {name: value for name, value in found.items() if not name.startswith((STATE, PURGE))}
    remembered = {name.removeprefix(STATE): value for name, value in found.items() if name.startswith(STATE)}
    masks = {int(name.removeprefix(PURGE)): value for name, value in found.items() if name.startswith(PURGE)}
    requests = as_requests(said.get("requests", []), masks)
    state = None if values["state"] is None else State(values["state"], remembered)
    run = _read_verdict(job, outcome, said["status"], evidence, bool(values["again"]), results, given)
    return with_the_rest(run, state, shown, requests, judged_rows(given), remembers=job.remembers)


def _read_verdict(
    job: Job,
    outcome: Outcome,
    status: str,
    evidence: Mapping[str, Any],
    again: bool,
    found: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
) -> DefenseRun:
    rows = judged_rows(given)
    weights = {name.removeprefix(WEIGHT): value for name, value in given.items() if name.startswith(WEIGHT)}
    match job.surface:
        case "filter":
            return read_surface(FilterResult(_only(found, "keep"), None, evidence, again), outcome, rows, weights)
        case "screen":
            flagged = _only({name: value for name, value in found.items() if name != "answers"}, "flagged")
            screened = ScreenResult(flagged, None, evidence, answers=found.get("answers"))
            return read_surface(screened, outcome, rows, weights, job.architecture["classes"])
        case "inspector":
            result = InspectorResult(status == "flagged", evidence["score"], evidence["threshold"], evidence)
            return read_surface(result, outcome, rows, weights)
        case "repair" | "training":
            return read_repaired(found or weights, evidence, outcome, weights)


def _only(found: Mapping[str, Tensor], name: str) -> Tensor:
    if list(found) != [name]:
        raise Unusable(f"expected its process to send the tensor '{name}', got {len(found)} others")
    return found[name]


def _count(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT:
        return value
    raise Unusable(f"expected its process to count {name}, got {type(value).__name__}")
