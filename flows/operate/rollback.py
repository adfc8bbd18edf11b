"""Let an earlier version serve again, because a person says so. The run's data are not needed."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.runs.folder import RunFolder
from simulator.errors import ScenarioError
from simulator.production.registry.locked import locked

if TYPE_CHECKING:
    from simulator.production.lineage import LineageState
    from simulator.production.registry.base import RunHead
    from simulator.records import PeriodRecord

#: readings that a person's decision rests on, where they are known
_READINGS = ("clean/accuracy", "backdoor/attack_success")


def rollback(place: RunFolder, arm: str | None, to: int | None, reason: str) -> dict[str, Any]:
    """Let version `to` of an arm (default: the one that served before) serve from now on.

    Returns the action as the ledger holds it, with the version that served before as `left`, and who asked, where and
    when. `arm` may be None where the run has one. Raises `RunHeldError` while another process holds the run, and
    `EbbdoorError` for what cannot be done.
    """
    from simulator.loop.actions import roll_back
    from simulator.loop.resume import bring_back, states_of
    from simulator.records import LineageKey

    registry, ledger = place.open_stores()
    with locked(ledger, place.run):
        head = ledger.head(place.run)
        chosen = _chosen(head, arm)
        registry.open(head)
        states = states_of(ledger, head, chosen)
        for key, state in states.items():  # what a killed process left must not be rolled back to
            bring_back(registry, ledger, key, state)
        own = states[LineageKey(arm=chosen)]
        numbers = _numbers(own, to)
        who = {"who": _who(), "host": socket.gethostname(), "when": datetime.now(UTC).isoformat(timespec="seconds")}
        action = roll_back(head, registry, ledger, chosen, to, reason, numbers, who)
    return {**action.model_dump(mode="json"), "left": own.champion, **who}


def _chosen(head: RunHead, arm: str | None) -> str:
    arms = list(dict.fromkeys(key.arm for key in head.lineages))
    if arm is None and len(arms) > 1:
        raise ScenarioError(f"expected --arm to name one of {', '.join(arms)}, got none; name it")
    if arm is not None and arm not in arms:
        raise ScenarioError(f"expected --arm to name one of {', '.join(arms)}, got '{arm}'; correct it")
    return arm or arms[0]


def _numbers(state: LineageState, to: int | None) -> dict[str, float]:
    """The two ordinals, and of both versions the readings that were taken last and have a value."""
    numbers: dict[str, float] = {}
    for word, ordinal in (("left", state.champion), ("taken", state.previous if to is None else to)):
        if ordinal is not None:
            numbers[f"{word}/version"] = ordinal
            numbers |= {f"{word}/{name}": value for name, value in _read_last(state.records, ordinal).items()}
    return numbers


def _read_last(records: Sequence[PeriodRecord], ordinal: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for record in records:
        served, tried = record.version == ordinal, record.candidate == ordinal
        readings = record.readings if served else record.candidate_readings if tried else {}
        found |= {
            name: reading.value for name, reading in readings.items() if name in _READINGS and reading.value is not None
        }
    return found


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as containers have
        return "unknown"
