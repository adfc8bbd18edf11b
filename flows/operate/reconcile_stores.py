"""Close what MLflow still calls running though no process plays it, and remove what killed processes left there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.operate.serving import by_hand
from flows.operate.wording import Ask, Row, left_alone, next_words, resume_words, updates
from flows.runs.folder import RunFolder
from flows.runs.play import Stores, export, recorded
from simulator.errors import EbbdoorError, StoreError, StoreUnavailableError
from simulator.production.registry.base import Leftover
from simulator.production.registry.locked import locked

if TYPE_CHECKING:
    from simulator.production.lineage import LineageState
    from simulator.production.registry.base import Ledger, Registry, RunHead, StoredRun
    from simulator.records import LineageKey

_OPENING = "an opening that was cut short before anything was played"


@dataclass(frozen=True, slots=True)
class _Case:
    """A run as its stores have it. `wrong`: what was left, in words; `status`: the word that would be true.

    `by_hand`: what people changed in the registry, in words; it is put back only when that is asked for.
    """

    state: StoredRun
    head: RunHead | None
    states: Mapping[LineageKey, LineageState]
    wrong: Sequence[str]
    status: str
    by_hand: Sequence[str] = ()


def stores_of(workspace: Path) -> tuple[Registry, Ledger]:
    """Open the stores in use: the server that the environment names, or the workspace's own."""
    from simulator.production.registry.open import open_stores

    return open_stores(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or None, workspace=workspace)


def reconcile_stores(workspace: Path, ask: Ask, folders: Mapping[str, RunFolder]) -> list[Row]:
    """Reconcile every run that no living process holds; `folders` are the run folders that are known, by run."""
    registry, ledger = stores_of(workspace)
    left = registry.leftovers()
    nothing = Leftover((), asked=True)
    rows = [
        _reconciled(workspace, state, left.pop(state.run, nothing).words, ask, folders.get(state.run))
        for state in ledger.runs()
    ]
    rows += [_swept(workspace, run, words, ask) for run, words in left.items()]
    return [row for row in rows if row is not None]


def _reconciled(
    workspace: Path, state: StoredRun, left: Sequence[str], ask: Ask, place: RunFolder | None
) -> Row | None:
    run = state.run
    if state.fault:
        return Row("MLflow", run, state.status, state.status, f"left alone: {state.fault}", "see above")
    alone = left_alone(state.holder, ask)
    if alone is not None:
        return Row("MLflow", run, state.status, state.status, *alone)
    try:
        registry, ledger = stores_of(workspace)  # fresh ones, for a registry keeps what it has read of a run
        case = _examined(registry, ledger, state, [*left, *_taken_over(state, ask)])
        if case.by_hand and ask.restore != run:
            told = f"left alone: {'; '.join(case.by_hand)}"
            return Row(
                "MLflow", run, state.status, state.status, told, f"`ebbdoor reconcile --restore {run}` undoes it"
            )
        if not case.wrong and not case.by_hand and case.status == state.status:
            return None
        if ask.dry_run:
            return _row(case, place, ask)
        with locked(ledger, run, take_over=ask.take_over):
            state = next(other for other in ledger.runs() if other.run == run)  # as it is now that it is ours
            case = _examined(registry, ledger, state, case.wrong)
            if case.by_hand and ask.restore != run:
                raise StoreError("; ".join(case.by_hand))
            _mend(case, registry, ledger, place)
        return _row(case, place, ask)
    except StoreUnavailableError:
        raise
    except EbbdoorError as error:  # what is wrong with one run must not keep the others from being reconciled
        return Row("MLflow", run, state.status, state.status, f"left alone: {error}", "see above")


def _swept(workspace: Path, run: str, left: Leftover, ask: Ask) -> Row | None:
    """Remove what is left of a run whose removal was asked for and cut short. Anything else is only told."""
    words = "; ".join(left.words)
    if not left.asked:
        told = f"left alone: its MLflow run is not there, and this is: {words}"
        return Row("MLflow", run, "missing", "missing", told, f"restore it in MLflow, or `ebbdoor delete {run}`")
    registry, ledger = stores_of(workspace)
    alone = left_alone(ledger.holder(run), ask)
    if alone is not None:
        return Row("MLflow", run, "being opened", "being opened", *alone)
    if not ask.dry_run:
        try:
            with locked(ledger, run, take_over=ask.take_over):
                if any(state.run == run for state in ledger.runs()):
                    return None  # opened since
                registry.sweep(run)
        except StoreUnavailableError:
            raise
        except EbbdoorError as error:
            return Row("MLflow", run, "deleted", "deleted", f"left alone: {error}", "see above")
    return Row("MLflow", run, "deleted", "deleted", f"{_would(ask)}removed: {words}", "nothing")


def _taken_over(state: StoredRun, ask: Ask) -> list[str]:
    """Name the lock that somebody says is of a process that has ended: it is freed, also of a run that is finished."""
    if state.holder is None or state.holder.is_here or not ask.take_over:
        return []
    return [f"the lock of process {state.holder.pid} on host '{state.holder.host}'"]


def _examined(registry: Registry, ledger: Ledger, state: StoredRun, left: Sequence[str]) -> _Case:
    from simulator.loop.resume import states_of

    wrong = list(left)
    if state.holder is not None and state.holder.is_dead:
        wrong.append(f"the lock of process {state.holder.pid}, which has ended")
    if state.status == "opening":
        if updates(state) >= 0:
            ledger.head(state.run)  # says what is missing
        return _Case(state, None, {}, [*wrong, _OPENING], "removed")
    head = ledger.head(state.run)
    states: dict[LineageKey, LineageState] = {}
    changed: list[str] = []
    for arm in dict.fromkeys(key.arm for key in head.lineages):
        states |= states_of(ledger, head, arm)
    for key, one in states.items():
        if one.surplus:
            wrong.append(f"period {one.last + 1} of '{key.name}', which its arm has not committed")
        wrong += registry.differences(key, one.last, one)
        changed += by_hand(registry, key, one)
    from simulator.production.registry.base import going

    unfinished = going({key.name: one.last for key, one in states.items()}, ledger.ends())
    complete = all(last >= int(head.scenario["periods"]) for last in unfinished.values())
    word = "interrupted" if state.status == "running" else state.status
    word = "finished" if complete else word
    return _Case(state, head, states, list(dict.fromkeys(wrong)), word, changed)


def _mend(case: _Case, registry: Registry, ledger: Ledger, place: RunFolder | None) -> None:
    """Bring every lineage back to what its arm has committed, and close the run with the truth. The run is locked."""
    from simulator.loop.resume import bring_back

    if case.head is None:
        registry.sweep(case.state.run)
        return
    registry.open(case.head)
    for key, state in case.states.items():
        if case.by_hand:
            registry.restore(key, state)
        bring_back(registry, ledger, key, state)
    if case.status == "finished" and place is not None:
        export(place, Stores(case.head, recorded(case.head), registry, ledger))
    elif case.status != case.state.status:
        registry.finish(case.status, {})


def _row(case: _Case, place: RunFolder | None, ask: Ask) -> Row:
    would = _would(ask)
    changed = case.status != case.state.status and case.head is not None
    done = [f"{would}closed as {case.status}"] if changed else []
    done += [f"{would}put back: {'; '.join(case.by_hand)}"] if case.by_hand else []
    done += [f"{would}put right: {'; '.join(case.wrong)}"] if case.wrong else []
    following = (
        f"begin it again, or {resume_words(case.state.run, place)}"
        if case.head is None
        else next_words(case.state, case.head, place)
    )
    now = case.state.status if ask.dry_run else case.status
    return Row("MLflow", case.state.run, case.state.status, now, ", ".join(done), following)


def _would(ask: Ask) -> str:
    return "would be " if ask.dry_run else ""
