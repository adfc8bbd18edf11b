"""What earlier runs of the workspace took, by kind of scenario: the time left is told before a period is played.

A convenience that no number depends on: what cannot be read or written is left out.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.displays.pace import Measured
from simulator.errors import EbbdoorError
from simulator.system.files import write_json

if TYPE_CHECKING:
    from simulator.scenario.model import Scenario

#: the file in the workspace
_FILE = ".paces.json"

#: kinds of scenario that are remembered, those last played
_MOST = 100


def kind_of(scenario: Scenario, *, bare: bool, processes: int | None) -> str:
    """Return the key of all runs that take as long: of any seed and number of periods, played in the same way."""
    alike = scenario.model_copy(update={"seed": 0, "periods": 1})
    return f"{alike.digest()[:16]} {'bare' if bare else 'flow'} {processes}"


def earlier(workspace: Path, kind: str) -> Measured | None:
    """Return what the last run of this kind took; None where none is known."""
    try:
        found = Measured(**_read(workspace)[kind])
        return found if found.parallel > 0 and found.whole(1) > 0 else None
    except (KeyError, TypeError):
        return None


def remember(workspace: Path, kind: str, measured: Measured | None) -> None:
    """Note what a run of this kind took, in the place of the one before."""
    if measured is None:
        return
    others = {name: values for name, values in _read(workspace).items() if name != kind}
    kept = dict(list(others.items())[-(_MOST - 1) :])
    with suppress(EbbdoorError):
        write_json(workspace / _FILE, {**kept, kind: asdict(measured)})


def _read(workspace: Path) -> dict[str, Any]:
    try:
        found = json.loads((workspace / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
