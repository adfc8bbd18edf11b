"""A run: open it, play it in one or several processes, resume it from the ledger alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from simulator.cache.store import NO_CACHE, Cache
from simulator.errors import StoreError
from simulator.loop.actions import request_retraining, roll_back
from simulator.loop.hosts import Host, LocalHost, RemoteHost
from simulator.loop.period import Past, Twin, play_arm
from simulator.loop.resume import bring_back, past_of
from simulator.loop.stages import Event, Listen, Stages, Wrap, ignore, plain
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.records import LineageKey
from simulator.scenario.load import arm_scenario
from simulator.scenario.model import Scenario
from simulator.world.arrivals.admit import last_arrived, require_files
from simulator.world.world import load_source

__all__ = ["continue_run", "lineages_of", "open_run", "play", "request_retraining", "roll_back"]


def lineages_of(scenario: Scenario) -> tuple[LineageKey, ...]:
    """The lineages of a scenario: each arm, and its twins unless nothing is ever poisoned there."""
    keys: list[LineageKey] = []
    for arm in scenario.arms:
        mine = arm_scenario(scenario, arm)
        attacked = mine.attack.use != "none" and mine.campaign.use != "none"
        keys.append(LineageKey(arm=arm))
        keys.extend(LineageKey(arm=arm, control=control) for control in mine.twins if attacked)
    return tuple(keys)


def open_run(
    scenario: Scenario, registry: Registry, ledger: Ledger, run: str, *, live: Mapping[str, Any] | None = None
) -> RunHead:
    """Create the run's places in both stores, or find them again; nothing is trained here. `live`: see `RunHead`."""
    source = load_source(scenario.source).digest
    head = RunHead(run, scenario.model_dump(mode="json"), scenario.digest(), source, lineages_of(scenario), live)
    registry.open(head)
    ledger.open(head)
    return head


def continue_run(registry: Registry, ledger: Ledger, run: str) -> tuple[RunHead, Scenario]:
    """Find an open run from the ledger alone; the source must be there and the same."""
    head = ledger.head(run)
    scenario = Scenario.model_validate(dict(head.scenario))
    found = load_source(scenario.source).digest
    if found != head.source_digest:
        raise StoreError(
            f"expected the source of run '{run}' to have digest {head.source_digest[:12]}, got {found[:12]}; "
            "put the data back that the run was started with"
        )
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

    Where batches arrive in a drop folder, up to the last that has arrived: nothing is admitted here.
    `processes` 0 keeps the lines in this process; by default there is a worker a core, at most one a line.
    `memo` recalls trainings and readings; the records are the same with any.
    Returns all committed entries by line name. What was committed is kept whatever happens.
    """
    arrived = last_arrived(scenario)
    stop = min(period for period in (until, arrived, scenario.periods) if period is not None)
    listen(Event("run-started", head.run, detail={"periods": stop, "lines": [key.name for key in head.lineages]}))
    lock = threading.Lock()
    with _hosts(scenario, processes, cache) as hosts:
        crews = _crews(scenario, hosts, shared=cache.folder is not None)
        with ThreadPoolExecutor(max_workers=len(crews), thread_name_prefix="arm") as pool:
            stores = (registry, ledger)
            futures = [
                pool.submit(copy_context().run, _play_crew, crew, head, stores, wrap, listen, lock, stop)
                for crew in crews
            ]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                for host in hosts:
                    host.kill()
                raise
    entries = {key.name: ledger.entries(key) for key in head.lineages}
    listen(Event("run-finished", head.run, detail={"periods": stop}))
    return entries


@dataclass(frozen=True, slots=True)
class _Crew:
    """Arms that one thread plays one after another, the host of their lines, and of twins that wait for nothing.

    `ahead`: begin with the base of the first arm's twin, for other crews begin with their arms'. The hosts share a
    memo; arms and their twins often have the same base, and so neither waits for the other.
    """

    arms: tuple[tuple[str, Scenario], ...]
    host: Host
    side: Host
    ahead: bool


def _crews(scenario: Scenario, hosts: list[Host], *, shared: bool) -> list[_Crew]:
    arms = [(arm, arm_scenario(scenario, arm)) for arm in scenario.arms]
    count = min(len(arms), len(hosts))
    return [
        _Crew(
            tuple(arms[index::count]),
            hosts[index],
            hosts[count + index] if count + index < len(hosts) else hosts[index],
            ahead=shared and index % 2 == 1,
        )
        for index in range(count)
    ]


def _play_crew(
    crew: _Crew,
    head: RunHead,
    stores: tuple[Registry, Ledger],
    wrap: Wrap,
    listen: Listen,
    lock: threading.Lock,
    stop: int,
) -> None:
    registry, ledger = stores
    for position, (arm, scenario) in enumerate(crew.arms):
        with lock:
            found = past_of(ledger, head, arm)
        require_files(scenario, [entry.record for past in found for entry in past.entries])
        done = found[0].last + 1
        if done > stop:
            if done > scenario.periods:  # a kill after the last commit may have left something to put right
                with lock:
                    for past in found:
                        bring_back(registry, ledger, past)
            continue
        lineages = []
        for past in found:
            key = past.key
            host = crew.side if _waits_for_nothing(key, scenario) else crew.host
            surfaces = host.open(key, scenario)
            lineage = Stages(
                head.run, key, host, registry, ledger, surfaces=surfaces, wrap=wrap, listen=listen, lock=lock
            )
            lineage.start(past)
            lineages.append(lineage)
        pasts = {past.key.name: Past(past.entries) for past in found}
        twins = [_twin(lineage, scenario, crew) for lineage in lineages[1:]]
        if crew.ahead and position == done == 0:
            _begin_ahead(twins, scenario)
        digests = (head.scenario_digest, head.source_digest)
        for _ in play_arm(head.run, lineages[0], twins, pasts, range(done, stop + 1), scenario.periods, digests):
            pass


def _twin(lineage: Stages, scenario: Scenario, crew: _Crew) -> Twin:
    free = _waits_for_nothing(lineage.key, scenario)
    return Twin(lineage, replays=not free, beside=free and crew.side is not crew.host)


def _begin_ahead(twins: list[Twin], scenario: Scenario) -> None:
    """Train the base of the twin that plays after its arm; a checkpoint is not trained, and files may not be there."""
    waiting = [twin.lineage for twin in twins if not twin.beside]
    if waiting and scenario.base is None and scenario.stream.arrivals is None:
        waiting[0].ahead()


def _waits_for_nothing(key: LineageKey, scenario: Scenario) -> bool:
    """Whether a twin needs no decision of its arm: it decides for itself, or there is nothing to decide."""
    always = scenario.policy.use == "every-period" and scenario.gate.use == "none" and scenario.shadow.periods == 0
    return key.control == "free" or (key.control == "paced" and always)


@contextmanager
def _hosts(scenario: Scenario, processes: int | None, cache: Cache) -> Iterator[list[Host]]:
    """One host a worker, at most as many as can work at a time: an arm each, and a twin that waits for nothing."""
    mine = {arm: arm_scenario(scenario, arm) for arm in scenario.arms}
    beside = {key.arm for key in lineages_of(scenario) if _waits_for_nothing(key, mine[key.arm])}
    wanted = len(mine) + len(beside)
    count = min(wanted, os.cpu_count() or 1) if processes is None else min(processes, wanted)
    with ExitStack() as stack:
        hosts: list[Host] = []
        for _ in range(count):
            hosts.append(RemoteHost(scenario.threads, cache))
            stack.callback(hosts[-1].close)
        if not hosts:
            hosts.append(LocalHost(cache))
            stack.callback(hosts[-1].close)
        yield hosts
