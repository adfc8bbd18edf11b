"""What in MLflow is ebbdoor's own, by the tags that it had when it was made; all else belongs to somebody else.

Everything of a run carries its name (`run`) and more that nobody writes by chance. Only what carries the whole mark is
ever removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.production.registry.mlflow import tags

_RUN_MARKS = (tags.RUN, tags.SCENARIO_DIGEST, tags.SOURCE_DIGEST)
_VERSION_MARKS = (tags.RUN, tags.LINE, tags.PERIOD, tags.WEIGHTS)


def is_run(item: Any) -> bool:
    """Whether an MLflow run is one of ours."""
    return all(key in item.data.tags for key in _RUN_MARKS)


def is_parent(item: Any) -> bool:
    """Whether an MLflow run of ours is an ebbdoor run as a whole, rather than one of its lineages."""
    return tags.LINE not in item.data.tags and tags.MLFLOW_PARENT not in item.data.tags


def is_used(item: Any) -> bool:
    """Whether something is committed in an MLflow run: a period, an action, how its lineage ended, or a run's head."""
    known = item.data.tags
    return any(key in (tags.HEAD, tags.ENDED) or key.startswith((tags.PERIODS, tags.ACTIONS)) for key in known)


def is_version(known: Mapping[str, str]) -> bool:
    """Whether what has the tags `known` is a version of ours: a logged model, or with `MODEL_ID` its row."""
    numbers = (known.get(tags.VERSION, known.get(tags.FORMER_VERSION, "")), known.get(tags.PERIOD, ""))
    return all(key in known for key in _VERSION_MARKS) and all(one.isascii() and one.isdigit() for one in numbers)


def ordinal_of(known: Mapping[str, str]) -> int:
    """Return the ordinal of a version of ours, from its tags."""
    return int(known[tags.VERSION] if tags.VERSION in known else known[tags.FORMER_VERSION])


def is_row(row: Any, run: str, lineage: str) -> bool:
    """Whether a row of a registered model is a version of this lineage, made by ebbdoor."""
    known = row.tags
    same = known.get(tags.RUN) == run and known.get(tags.LINE) == lineage
    return same and tags.MODEL_ID in known and is_version(known)


def is_model(row: Any) -> bool:
    """Whether a registered model was made by ebbdoor for a lineage, whatever it is called now."""
    return tags.RUN in row.tags and tags.LINE in row.tags


def is_marked_for_deletion(known: Mapping[str, str]) -> bool:
    """Whether a person has asked, by `ebbdoor delete`, that what has the tags `known` be removed."""
    return tags.DELETE in known
