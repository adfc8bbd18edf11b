"""Operator actions between two periods: written to the ledger, carried out when the run goes on.

The caller holds the run and has opened both stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from simulator.errors import ScenarioError, StoreError, StoreUnavailableError
from simulator.loop.resume import states_of
from simulator.production.lineage import LineageState, ancestry
from simulator.production.registry.base import Ledger, Registry, RunHead
from simulator.records import Action, LineageKey, PeriodRecord


def roll_back(
    head: RunHead,
    registry: Registry,
    ledger: Ledger,
    arm: str,
    to: int | None = None,
    reason: str = "",
    numbers: Mapping[str, float] | None = None,
    beside: Mapping[str, Any] | None = None,
) -> Action:
    """Let version `to` of `arm` (default: the one that served before) serve from now on, in its paced twin too.

    `numbers` are the readings that it rests on, `beside` (who, when) is not hashed. It is in the ledger before the
    registry is told; a process killed in between is made good when the run goes on. Raises `ScenarioError` for an
    unknown arm, before the first committed period, without a reason, for a version that never served, that serves
    already, or that the registry does not hold.
    """
    records = _committed(head, ledger, arm)
    actions = ledger.actions(arm)
    to = _target(arm, to, LineageState.of(records, actions))
    ended = {end.lineage for end in ledger.ends()}
    followers = [key for key in head.lineages if key.arm == arm and key.control != "free" and key not in ended]
    _expect_stored(registry, followers, records[-1], to)
    action = _action(head, arm, records, actions, kind="roll back", to=to, reason=reason, numbers=numbers)
    ledger.act(action, dict(beside or {}))
    for key, state in states_of(ledger, head, arm).items():
        if key in followers:
            registry.roll_back(key, action, state)
    return action


def request_retraining(
    head: RunHead,
    ledger: Ledger,
    arm: str,
    reason: str,
    numbers: Mapping[str, float] | None = None,
    beside: Mapping[str, Any] | None = None,
) -> Action:
    """Let `arm` retrain in its next period, or the first one in which it can; see `roll_back` for the arguments.

    Raises `ScenarioError` for an unknown arm, before the first committed period, without a reason, and when all periods
    are played.
    """
    records = _committed(head, ledger, arm)
    if records[-1].period >= head.scenario["periods"]:
        raise ScenarioError(
            f"expected arm '{arm}' of run '{head.run}' to have a period left to retrain in, got its last, "
            f"{records[-1].period}, committed; start another run"
        )
    action = _action(head, arm, records, ledger.actions(arm), kind="retrain", to=None, reason=reason, numbers=numbers)
    ledger.act(action, dict(beside or {}))
    return action


def _committed(head: RunHead, ledger: Ledger, arm: str) -> list[PeriodRecord]:
    known = [key.arm for key in head.lineages if key.control == "none"]
    if arm not in known:
        raise ScenarioError(f"expected an arm of run '{head.run}' ({', '.join(known)}), got '{arm}'; name one of them")
    records = [entry.record for entry in ledger.entries(LineageKey(arm=arm))]
    if not records:
        raise ScenarioError(
            f"expected arm '{arm}' of run '{head.run}' to have a committed period, got none; wait for period 0"
        )
    for end in ledger.ends():
        if end.lineage == LineageKey(arm=arm):
            raise ScenarioError(
                f"expected arm '{arm}' of run '{head.run}' to go on, got training that diverged in period "
                f"{end.period}; start another run"
            )
    return records


def _action(
    head: RunHead,
    arm: str,
    records: Sequence[PeriodRecord],
    actions: Sequence[Action],
    *,
    kind: Literal["roll back", "retrain"],
    to: int | None,
    reason: str,
    numbers: Mapping[str, float] | None,
) -> Action:
    if not reason.strip():
        raise ScenarioError(f"expected a reason to {kind}, got none; say why, it is kept with the run")
    period = records[-1].period
    number = sum(action.period == period for action in actions)
    return Action(
        run=head.run,
        arm=arm,
        period=period,
        number=number,
        kind=kind,
        to=to,
        reason=reason.strip(),
        numbers=dict(numbers or {}),
    )


def _target(arm: str, to: int | None, now: LineageState) -> int:
    served = sorted({*now.served} - {now.champion})
    if to is None and now.previous is None:
        raise ScenarioError(
            f"expected a version of '{arm}' that served before the one that serves, got none; "
            "there is nothing to roll back to"
        )
    to = now.previous if to is None else to
    assert to is not None
    if to == now.champion:
        raise ScenarioError(
            f"expected another version of '{arm}' than the one that serves, got {_name(to)}; {_choice(served)}"
        )
    if to not in served:
        raise ScenarioError(f"expected a version of '{arm}' that has served, got {_name(to)}; {_choice(served)}")
    return to


def _choice(served: Sequence[int]) -> str:
    return f"choose from {', '.join(map(_name, served))}" if served else "no other has served"


def _name(ordinal: int) -> str:
    """Name a version so that nobody takes it for MLflow's number, which begins at 1."""
    return f"ordinal {ordinal}"


def _expect_stored(registry: Registry, lineages: Sequence[LineageKey], last: PeriodRecord, to: int) -> None:
    """Refuse a version whose weights, or those of the ancestors that the gate needs, cannot be read."""
    try:
        for lineage in lineages:
            for ordinal in ancestry(dict(last.state["platform"]["parents"]), to):
                registry.weights(lineage, ordinal)
    except StoreUnavailableError:
        raise
    except StoreError as error:
        raise StoreError(f"{_name(to)} cannot serve again: {error}") from error
