"""Models that are registered already, whoever made them: found, read without executing them, and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from simulator.production.auditing.subject import Place


@final
@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in the store: a version of the registered model `name`, or a logged model that is none (`number` None).

    `uri` is its own address, whatever it was asked for by. `model_id` and `run_id` are those of the logged model and
    the run that hold its files, empty for none; `address` is where these are.
    """

    uri: str
    address: str
    place: Place
    name: str = ""
    number: int | None = None
    model_id: str = ""
    run_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class FoundModels:
    """What an address stands for: `chosen` are to be audited, oldest first; `versions` are they and those before."""

    versions: Sequence[StoredModel]
    chosen: Sequence[StoredModel]
