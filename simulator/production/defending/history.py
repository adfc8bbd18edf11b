"""What the platform remembers of earlier periods on its way to a defense: facts as values, weights and rows as blobs.

A blob is a safetensors file in a tensor of bytes. It is read when a defense asks for it, so that what it does not ask
for costs no more than the way there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load, save
from torch import Tensor, nn

from defenses.base import History, PastBatch, PastOutcome, PastSignal, PastVersion, Rows
from simulator.production.defending.shown import SHOWN
from simulator.production.training.device import layout_of
from simulator.production.training.weights import load_into
from simulator.records import DriftKind, Finite, Outcome

#: prefixes of blobs among a job's tensors, before a version's ordinal or a batch's period
VERSION: Final = "past.version:"
BATCH: Final = "past.batch:"
#: the name of the labelled upper bound, which no defense of a scenario has: what it says counts poisoned rows
LABELLED: Final = "oracle"
#: characters of evidence as JSON that travel with an earlier outcome; more is left out
LARGEST_TOLD: Final = 4_000


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutcomeFacts(_Facts):
    """Fields of a `PastOutcome`."""

    surface: str
    name: str
    subject: str
    status: str
    evidence: dict[str, Any]

    @staticmethod
    def of(outcome: Outcome) -> OutcomeFacts:
        """Return what a defense is shown of an earlier outcome."""
        evidence = {name: value for name, value in outcome.evidence.items() if name != SHOWN}
        if len(json.dumps(evidence, ensure_ascii=False)) > LARGEST_TOLD:
            evidence = {}
        fields = {name: getattr(outcome, name) for name in ("surface", "name", "subject", "status")}
        return OutcomeFacts(**fields, evidence=evidence)


def of_a_defender(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes that a defender knows of.

    Not the labelled upper bound's, and not those of screens: the observer asks them, about stamped and test images.
    """
    return [one for one in outcomes if one.name != LABELLED and one.subject != "serving"]


class SignalFacts(_Facts):
    """Fields of a `PastSignal`."""

    period: int
    score: Finite | None
    threshold: Finite | None
    p_value: Finite | None
    alarm: bool
    kind: DriftKind | None


class VersionFacts(_Facts):
    """Fields of a `PastVersion`."""

    ordinal: int
    parent: int | None
    period: int
    served: tuple[int, ...]
    trusted_accuracy: Finite | None
    outcomes: tuple[OutcomeFacts, ...]


class HistoryFacts(_Facts):
    """A `History` without weights and rows; `batches` are the periods whose labels have arrived."""

    versions: tuple[VersionFacts, ...] = ()
    batches: tuple[int, ...] = ()
    signals: tuple[SignalFacts, ...] = ()
    champion: int | None = None


def as_blob(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return `tensors`, on whatever device, as one tensor of bytes."""
    plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    return torch.frombuffer(bytearray(save(plain)), dtype=torch.uint8)


def is_blob(name: str) -> bool:
    """Return whether the tensor of that name in a job is a blob."""
    return name.startswith((VERSION, BATCH))


def history_of(facts: HistoryFacts, tensors: Mapping[str, Tensor], model: nn.Module, device: torch.device) -> History:
    """Return the history of `facts` with what is at hand in `tensors`, on `device`.

    `model` is of the scenario's architecture: past versions are copies of it with their own weights, and what is
    counted of its passes is counted of theirs.
    """
    blank = copy.deepcopy(model) if any(name.startswith(VERSION) for name in tensors) else None
    return History(
        versions=tuple(_version(one, tensors.get(f"{VERSION}{one.ordinal}"), blank) for one in facts.versions),
        batches=tuple(_batch(period, tensors.get(f"{BATCH}{period}"), model, device) for period in facts.batches),
        signals=tuple(PastSignal(**one.model_dump()) for one in facts.signals),
        champion=facts.champion,
    )


def _version(facts: VersionFacts, blob: Tensor | None, blank: nn.Module | None) -> PastVersion:
    known = {name: getattr(facts, name) for name in ("ordinal", "parent", "period", "served", "trusted_accuracy")}
    outcomes = tuple(PastOutcome(**one.model_dump()) for one in facts.outcomes)
    found = None if blob is None or blank is None else _loading_model(blob, blank)
    return PastVersion(**known, outcomes=outcomes, load=found)


def _loading_model(blob: Tensor, blank: nn.Module) -> Callable[[], nn.Module]:
    def loaded() -> nn.Module:
        model = copy.deepcopy(blank)
        load_into(model, _read(blob))
        return model.eval()

    return loaded


def _batch(period: int, blob: Tensor | None, model: nn.Module, device: torch.device) -> PastBatch:
    if blob is None:
        return PastBatch(period)
    layout = layout_of(model)

    def loaded() -> Rows:
        found = {name: value.to(device) for name, value in _read(blob).items()}
        images = found["images"].contiguous(memory_format=layout)
        return Rows(images, found["labels"], found["periods"], found["fresh"])

    return PastBatch(period, loaded)


def _read(blob: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load(blob.cpu().numpy().tobytes())
    return found
