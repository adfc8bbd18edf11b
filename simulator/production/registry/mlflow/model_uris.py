"""Addresses of models in MLflow as a person gives them: `models:/...`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

from simulator.errors import ScenarioError

#: MLflow's own ids of logged models
_ID: Final = re.compile(r"m-[0-9a-f]{32}")
_FORMS: Final = "models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME for all its versions, or models:/m-ID"


@final
@dataclass(frozen=True, slots=True)
class ModelUri:
    """`text`, taken apart: a registered model's `name` with a `number`, an `alias` or neither; or a `model_id`."""

    text: str
    name: str = ""
    number: int | None = None
    alias: str = ""
    model_id: str = ""


def read_uri(text: str) -> ModelUri:
    """Return what `text` names, or raise `ScenarioError`.

    >>> read_uri("models:/ebbdoor.quick-s0.main/3").number, read_uri("models:/mine@champion").alias
    (3, 'champion')
    """
    found = re.fullmatch(r"models:/([^/@:'\"]+)(?:/([^/@:]+)|@([^/@:]+))?", text)
    if found is None:
        raise ScenarioError(f"expected a model to be named as {_FORMS}, got '{text}'; correct it")
    name, version, alias = (part or "" for part in found.groups())
    if _ID.fullmatch(name) and not version and not alias:
        return ModelUri(text, model_id=name)
    if version and not (version.isascii() and version.isdigit() and len(version) < 10):
        raise ScenarioError(
            f"expected the version in '{text}' to be a number, got '{version}'; give the number that MLflow shows, "
            f"or an alias: models:/{name}@ALIAS"
        )
    return ModelUri(text, name, int(version) if version else None, alias)
