"""A run: open it, play it in one or several processes, resume it from the ledger alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from simulator.cache.store import NO_CACHE, Cache
from simulator.errors import DivergedError, StoreError
from simulator.loop.adopt import adopt_meanwhile
from simulator.loop.changed_code import changed_since, expect_same_code
from simulator.loop.events import Event, Listen, Wrap, ignore, plain
from simulator.loop.executors import Executor, LocalExecutor, WorkerExecutor
from simulator.loop.period import play_arm
from simulator.loop.played import Twin
from simulator.loop.resume import bring_back, resumed
from simulator.loop.stages import RunningLineage
from simulator.preflight.data import data_facts
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.production.registry.locked import noting_failure
from simulator.records import LineageKey
from simulator.scenario.earlier import EDITION, as_begun
from simulator.scenario.identity import code_of
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import resolved_arms
from simulator.world.arrivals.admit import last_arrived, require_files
from simulator.world.world import load_source


def lineages_of(scenario: Scenario) -> tuple[LineageKey, ...]:
    """The lineages of a scenario: each arm, and its twins unless nothing is ever poisoned there."""
    keys: list[LineageKey] = []
    for arm, mine in resolved_arms(scenario).items():
        attacked = mine.attack.use != "none" and mine.campaign.use != "none"
        keys.append(LineageKey(arm=arm))
        keys.extend(LineageKey(arm=arm, control=control) for control in mine.twins if attacked)
    return tuple(keys)


def open_run(
    scenario: Scenario,
    registry: Registry,
    ledger: Ledger,
    run: str,
    *,
    live: Mapping[str, Any] | None = None,
    accept_changed_code: bool = False,
) -> RunHead:
    """Create the run's places in both stores, or find them again; nothing is trained here. `live`: see `RunHead`.

    Returns the head that the ledger holds. Raises `PluginError` when it is there and third-party code was changed since
    it was begun, unless told to accept that.
    """
    source = load_source(scenario.source)
    facts, code = data_facts(scenario, source), code_of(scenario)
    head = RunHead(
        run, scenario.tree, scenario.digest(), source.digest, lineages_of(scenario), live,
        code=code, data=facts, edition=EDITION,
    )  # fmt: skip
    try:
        registry.open(head)
        ledger.open(head)
        stored = ledger.head(run)
        expect_same_code(stored, ledger, scenario, accept=accept_changed_code)
    except KeyboardInterrupt as error:
        with noting_failure(error):  # what is half made is completed, so that it can be closed, gone on with, deleted
            registry.open(head)
            ledger.open(head)
            close_unplayed(head, registry, ledger)
        raise
    return stored


def close_unplayed(head: RunHead, registry: Registry, ledger: Ledger) -> None:
    """Close a run that was interrupted before its first period, for its making has marked it as running."""
    if not any(ledger.entries(lineage) for lineage in head.lineages):
        registry.finish("interrupted", {})


def continue_run(
    registry: Registry, ledger: Ledger, run: str, *, accept_changed_code: bool = False
) -> tuple[RunHead, Scenario]:
    """Find an open run from the ledger alone; source and third-party code must be there and the same.

    `accept_changed_code`: see `open_run`.
    """
    head = ledger.head(run)
    scenario = Scenario.model_validate(dict(head.scenario))
    found = load_source(scenario.source).digest
    if found != head.source_digest:
        raise StoreError(
            f"expected the source of run '{run}' to have digest {head.source_digest[:12]}, got {found[:12]}; "
            "put the data back that the run was started with"
        )
    expect_same_code(head, ledger, scenario, accept=accept_changed_code)
    registry.open(head)
    return head, scenario


def play(
    head: RunHead,
    scenario: Scenario,
    registry: Registry,
    ledger: Ledger,
    *,
    wrap: Wrap = plain,
    listen: Listen = ignore,
    until: int | None = None,
    processes: int | None = None,
    cache: Cache = NO_CACHE,
) -> dict[str, list[Entry]]:
    """Play every arm up to period `until` (default: the last), from where the ledger stands.

    A run that earlier code began keeps the defaults of then (`scenario.earlier`).

    Where batches arrive in a drop folder, up to the last that has arrived: nothing is admitted here.
    `processes` 0 plays all lineages in this process; by default there is a worker process a core.
    `cache` holds trainings and readings; the records are the same with any.
    Returns the committed entries by lineage name. What was committed is kept whatever happens. An arm whose training
    diverges ends there (`Ledger.ends`), and the others go on.
    """
    scenario = as_begun(scenario, head.edition)
    arrived = last_arrived(scenario)
    stop = min(period for period in (until, arrived, scenario.periods) if period is not None)
    told = [] if head.data is None else head.data["lines"]
    detail = {"periods": stop, "lines": [key.name for key in head.lineages], "data": told}
    listen(Event("run-started", head.run, detail=detail))
    with _executors(scenario, processes, cache) as executors:
        groups = _groups(scenario, executors, shared=cache.folder is not None)
        run = _Run(head, registry, ledger, wrap, listen, stop, code_of(scenario))
        with ThreadPoolExecutor(max_workers=len(groups), thread_name_prefix="arm") as pool:
            futures = [pool.submit(copy_context().run, _play_group, group, run) for group in groups]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                for executor in executors:
                    executor.kill()
                raise
    listen(Event("run-finished", head.run, detail={"periods": stop}))
    return {key.name: run.entries[key] for key in head.lineages}


@dataclass(frozen=True, slots=True)
class _Run:
    """What all arms of a run share; `stop` is the last period to play, `entries` all that is committed.

    `code` are the digests of the third-party code that it is played with. `lock` lets one at a time use the stores.
    """

    head: RunHead
    registry: Registry
    ledger: Ledger
    wrap: Wrap
    listen: Listen
    stop: int
    code: Mapping[str, str]
    entries: dict[LineageKey, list[Entry]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class _Group:
    """Arms that one thread plays one after another, in the executor `main`; in `side` twins that wait for nothing.

    `ahead`: begin with the base of the first arm's twin, for other groups begin with their arms'. The executors share
    a cache; arms and their twins often have the same base, and so neither waits for the other.
    """

    arms: tuple[tuple[str, Scenario], ...]
    main: Executor
    side: Executor
    ahead: bool


def _groups(scenario: Scenario, executors: list[Executor], *, shared: bool) -> list[_Group]:
    arms = list(resolved_arms(scenario).items())
    count = min(len(arms), len(executors))
    return [
        _Group(
            tuple(arms[index::count]),
            executors[index],
            executors[count + index] if count + index < len(executors) else executors[index],
            ahead=shared and index % 2 == 1,
        )
        for index in range(count)
    ]


def _play_group(group: _Group, run: _Run) -> None:
    for position, (arm, scenario) in enumerate(group.arms):
        with run.lock:
            found = resumed(run.ledger, run.head, arm)
            ends = {end.control: end.period for end in run.ledger.ends() if end.arm == arm}
        states = {key: state for key, (state, _) in found.items()}
        run.entries.update({key: entries for key, (_, entries) in found.items()})
        require_files(scenario, [record for state in states.values() for record in state.records])
        begin = states[LineageKey(arm=arm)].last + 1
        if begin > run.stop or "none" in ends:
            if (
                begin > scenario.periods or "none" in ends
            ):  # a kill after the last commit may have left something to put right
                with run.lock:
                    for key, state in states.items():
                        bring_back(run.registry, run.ledger, key, state)
            continue
        lineages = [
            _opened(key, state, run.entries[key], scenario, group, run)
            for key, state in states.items()
            if key.control not in ends
        ]
        twins = [_twin(lineage, scenario, group) for lineage in lineages[1:]]
        if group.ahead and position == begin == 0:
            _begin_ahead(twins, scenario)
        digests = (run.head.scenario_digest, run.head.source_digest)
        adopt = partial(adopt_meanwhile, run.head, run.registry, run.ledger, run.lock)
        periods = range(begin, run.stop + 1)
        for committed in play_arm(lineages[0], twins, periods, scenario.periods, digests, ends, adopt):
            for key, entry in committed.items():
                run.entries[key].append(entry)


def _opened(
    key: LineageKey, state: LineageState, entries: Sequence[Entry], scenario: Scenario, group: _Group, run: _Run
) -> RunningLineage:
    """Make a lineage in its executor, and let it go on from where it stands; accepted changes of code are noted."""
    executor = group.side if _waits_for_nothing(key, scenario) else group.main
    executor.open(key, scenario)
    lineage = RunningLineage(
        run.head.run, key, executor, run.registry, run.ledger,
        state=state, wrap=run.wrap, listen=run.listen, lock=run.lock,
        code_changed=changed_since(run.head, entries, run.code),
    )  # fmt: skip
    lineage.start()
    return lineage


def _twin(lineage: RunningLineage, scenario: Scenario, group: _Group) -> Twin:
    judged = lineage.key.control != "free" and "inspector" in lineage.facts.surfaces  # what is flagged is rejected
    free = _waits_for_nothing(lineage.key, scenario) and not judged
    return Twin(lineage, replays=not free, parallel=free and group.side is not group.main)


def _begin_ahead(twins: list[Twin], scenario: Scenario) -> None:
    """Train the base of the twin that plays after its arm; a checkpoint is not trained, and files may not be there."""
    waiting = [twin.lineage for twin in twins if not twin.parallel]
    if waiting and scenario.base is None and scenario.stream.arrivals is None:
        with suppress(DivergedError):  # period 0 will meet it again, and tell
            waiting[0].ahead()


def _waits_for_nothing(key: LineageKey, scenario: Scenario) -> bool:
    """Whether a twin needs no decision of its arm: it decides for itself, or there is nothing to decide.

    Where an inspector looks there is: see `_twin`.
    """
    always = scenario.policy.use == "every-period" and scenario.gate.use == "none" and scenario.shadow.periods == 0
    asked = any(set(use.may) - {"purge"} for use in scenario.defenses)  # a defense may change what is decided
    always = always and not asked
    return key.control == "free" or (key.control == "paced" and always)


@contextmanager
def _executors(scenario: Scenario, processes: int | None, cache: Cache) -> Iterator[list[Executor]]:
    """One executor a worker, at most as many as can work at a time: an arm each, and a twin that waits for nothing."""
    arms = resolved_arms(scenario)
    parallel = {key.arm for key in lineages_of(scenario) if _waits_for_nothing(key, arms[key.arm])}
    wanted = len(arms) + len(parallel)
    count = min(wanted, os.cpu_count() or 1) if processes is None else min(processes, wanted)
    with ExitStack() as stack:
        executors: list[Executor] = []
        for _ in range(count):
            executors.append(WorkerExecutor(scenario.threads, cache, scenario.numerics))
            stack.callback(executors[-1].close)
        if not executors:
            executors.append(LocalExecutor(cache))
            stack.callback(executors[-1].close)
        yield executors
