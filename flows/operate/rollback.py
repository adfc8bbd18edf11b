"""Let an earlier version serve again, because a person says so. The run's data are not needed."""

from __future__ import annotations

import getpass
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.runs.folder import RunFolder
from simulator.errors import ScenarioError, StoreError, StoreUnavailableError
from simulator.production.registry.locked import locked

if TYPE_CHECKING:
    from simulator.production.lineage import LineageState
    from simulator.production.registry.base import Ledger, Registry, RunHead
    from simulator.records import PeriodRecord

_LOGGER = logging.getLogger("ebbdoor.stores")
#: readings that a person's decision rests on, where they are known
_READINGS = ("clean/accuracy", "backdoor/attack_success")


def rollback(
    place: RunFolder, arm: str | None, to: int | None, reason: str, *, even_if_rolled_back: bool = False
) -> dict[str, Any]:
    """Let version `to` of an arm (default: the one that served before) serve from now on.

    `to` is the number that the registry shows, in MLflow the version's own. One that was rolled back serves again only
    `even_if_rolled_back`. Returns the action as the ledger holds it, but `to` and `left` (what served before) are such
    numbers too, with who asked, where and when. `arm` may be None where the run has one. Raises `RunHeldError` while
    another process holds the run, and `EbbdoorError` for what cannot be done.
    """
    from simulator.loop.actions import roll_back
    from simulator.loop.resume import bring_back, states_of
    from simulator.records import LineageKey

    registry, ledger = place.open_stores()
    with locked(ledger, place.run):
        head = ledger.head(place.run)
        chosen = _chosen(head, arm)
        registry.open(head)
        _adopt(head, registry, ledger, chosen, to)
        states = states_of(ledger, head, chosen)
        for key, state in states.items():  # what a killed process left must not be rolled back to
            bring_back(registry, ledger, key, state)
        own = states[LineageKey(arm=chosen)]
        shown = registry.numbers(LineageKey(arm=chosen))
        target = target_of(chosen, own, shown, to, even_if_rolled_back)
        numbers = _numbers(own, target, shown)
        who = {"who": _who(), "host": socket.gethostname(), "when": datetime.now(UTC).isoformat(timespec="seconds")}
        action = roll_back(head, registry, ledger, chosen, target, reason, numbers, who)
    left = None if own.champion is None else shown.get(own.champion, own.champion + 1)
    return {**action.model_dump(mode="json"), "to": shown[target], "left": left, **who}


def _adopt(head: RunHead, registry: Registry, ledger: Ledger, arm: str, to: int | None) -> None:
    """Note first, and say, what a person moved in MLflow; what cannot be adopted gives way to this order.

    A move of `arm` to the version `to`, which is asked for here, is what this order carries out, with its reason.
    """
    from simulator.loop.adopt import adopt_moves

    try:
        if to is not None and _moved_to(head, registry, ledger, arm) == to:
            head = replace(head, lineages=tuple(key for key in head.lineages if key.arm != arm))
        adopt_moves(head, registry, ledger, _LOGGER.warning)
    except StoreUnavailableError:
        raise
    except StoreError as error:
        _LOGGER.warning("%s", error)


def _moved_to(head: RunHead, registry: Registry, ledger: Ledger, arm: str) -> int | None:
    """Return the number of the version to which a person moved the alias `champion` of an arm."""
    from simulator.loop.resume import states_of
    from simulator.records import LineageKey

    key = LineageKey(arm=arm)
    moved = registry.moved(key, states_of(ledger, head, arm)[key])
    return None if moved is None else registry.numbers(key)[moved]


def target_of(
    arm: str, state: LineageState, shown: Mapping[int, int], to: int | None, even_if_rolled_back: bool
) -> int:
    """Return the ordinal of version `to`, a number of the registry; by default of the version that served before.

    Raises `ScenarioError` for one that is not there, never served or serves already, and for one that was rolled back.
    """
    served = [one for one in dict.fromkeys(reversed(state.served)) if one != state.champion and one in shown]
    sound = [one for one in served if one not in state.rolled_back]
    choice = f"choose from {_listed(sound, shown)}" if sound else "there is nothing else to roll back to"
    if to is None:
        if sound:
            return sound[0]
        hint = f": {_listed(served, shown)} was rolled back, see --even-if-rolled-back" if served else ""
        raise ScenarioError(
            f"expected a version of '{arm}' that served before the one that serves, got none; there is nothing to roll "
            f"back to{hint}"
        )
    target = next((ordinal for ordinal, number in shown.items() if number == to), None)
    if target is None or target not in state.served:
        raise ScenarioError(f"expected --to to be a version of '{arm}' that has served, got {to}; {choice}")
    if target == state.champion:
        raise ScenarioError(
            f"expected --to to be another version of '{arm}' than the one that serves, got {to}; {choice}"
        )
    if target in state.rolled_back and not even_if_rolled_back:
        raise ScenarioError(
            f"expected --to to be a version of '{arm}' that was not rolled back, got {to}, which was; {choice}, or "
            "repeat the command with --even-if-rolled-back"
        )
    return target


def _listed(ordinals: Sequence[int], shown: Mapping[int, int]) -> str:
    return ", ".join(str(shown[ordinal]) for ordinal in sorted(ordinals))


def _chosen(head: RunHead, arm: str | None) -> str:
    arms = list(dict.fromkeys(key.arm for key in head.lineages))
    if arm is None and len(arms) > 1:
        raise ScenarioError(f"expected --arm to name one of {', '.join(arms)}, got none; name it")
    if arm is not None and arm not in arms:
        raise ScenarioError(f"expected --arm to name one of {', '.join(arms)}, got '{arm}'; correct it")
    return arm or arms[0]


def _numbers(state: LineageState, to: int, shown: Mapping[int, int]) -> dict[str, float]:
    """The registry's numbers of the two versions, and the readings of both that were taken last and have a value."""
    numbers: dict[str, float] = {}
    for word, ordinal in (("left", state.champion), ("taken", to)):
        if ordinal is not None:
            numbers[f"{word}/version"] = shown.get(ordinal, ordinal + 1)
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
