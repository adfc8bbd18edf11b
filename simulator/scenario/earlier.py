"""Runs that earlier code began go on as they were begun, where a plug-in of ours has another default since then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.scenario.model import Scenario

#: edition of what plug-ins do by default; a run's head keeps the one it was begun under (1 where it has none)
EDITION = 2

#: options that edition 1 had by default, by the plug-in's name
_BEFORE = {
    "rotation": {"sampling": "plain"},
    "label-prior": {"counts": "exact"},
    "evidently": {"method": "columns"},
}


def as_begun(scenario: Scenario, edition: int) -> Scenario:
    """Return `scenario` with the defaults of `edition`; what it states itself stays.

    >>> old = as_begun(Scenario.model_validate({"drift": [{"use": "rotation", "degrees": 4}]}), 1)
    >>> old.drift[0].options
    {'sampling': 'plain', 'degrees': 4}
    """
    return scenario if edition >= EDITION else Scenario.model_validate(_filled(scenario.tree))


def _filled(value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    inside = {key: _filled(item) for key, item in value.items()}
    before = _BEFORE.get(value["use"]) if isinstance(value.get("use"), str) else None
    return {"use": value["use"], **before, **inside} if before else inside
