"""A run: open it, play it in one or several processes, resume it from the ledger alone."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from simulator.errors import StoreError
from simulator.hosts import Host, LocalHost, RemoteHost
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.records import LineKey
from simulator.scenario.load import arm_scenario
from simulator.scenario.model import Scenario
from simulator.stages import Event, Listen, Stages, Wrap, ignore, plain
from simulator.timeline import Past, play_arm
from simulator.world.world import load_source

__all__ = ["continue_run", "lines_of", "open_run", "play"]


def lines_of(scenario: Scenario) -> tuple[LineKey, ...]:
    """The lineages of a scenario: each arm, and its twins unless nothing is ever poisoned there."""
    keys: list[LineKey] = []
    for arm in scenario.arms:
        mine = arm_scenario(scenario, arm)
        attacked = mine.attack.use != "none" and mine.campaign.use != "none"
        keys.append(LineKey(arm=arm))
        keys.extend(LineKey(arm=arm, control=control) for control in mine.twins if attacked)
    return tuple(keys)


def open_run(scenario: Scenario, registry: Registry, ledger: Ledger, run: str) -> RunHead:
    """Create the run's places in both stores, or find them again; nothing is trained here."""
    source = load_source(scenario.source).digest
    head = RunHead(run, scenario.model_dump(mode="json"), scenario.digest(), source, lines_of(scenario))
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
) -> dict[str, list[Entry]]:
    """Play every arm up to period `until` (default: the last), from where the ledger stands.

    `processes` 0 keeps the lines in this process; by default every arm has a worker, at most one a core at a time.
    Returns all committed entries by line name. What was committed is kept whatever happens.
    """
    arms = list(scenario.arms)
    stop = scenario.periods if until is None else min(until, scenario.periods)
    listen(Event("run-started", head.run, detail={"periods": stop, "lines": [key.name for key in head.lines]}))
    at_once = min(len(arms), os.cpu_count() or 1) if processes is None else processes
    lock = threading.Lock()
    with _hosts(scenario, at_once) as hosts:
        todo = [
            _Arm(head, scenario, arm, registry, ledger, hosts[index % len(hosts)]) for index, arm in enumerate(arms)
        ]
        by_host = [[arm for arm in todo if arm.host is host] for host in hosts]
        with ThreadPoolExecutor(max_workers=len(hosts), thread_name_prefix="arm") as pool:
            futures = [
                pool.submit(contextvars.copy_context().run, _play_arms, arms_here, wrap, listen, lock, stop)
                for arms_here in by_host
            ]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for host in hosts:
                    host.kill()
                raise
    entries = {key.name: ledger.entries(key) for key in head.lines}
    listen(Event("run-finished", head.run, detail={"periods": stop}))
    return entries


class _Arm:
    """What one thread needs to play one arm."""

    def __init__(
        self, head: RunHead, scenario: Scenario, arm: str, registry: Registry, ledger: Ledger, host: Host
    ) -> None:
        self.head, self.arm, self.host = head, arm, host
        self.registry, self.ledger = registry, ledger
        self.scenario = arm_scenario(scenario, arm)
        self.keys = [key for key in head.lines if key.arm == arm]


def _play_arms(arms: list[_Arm], wrap: Wrap, listen: Listen, lock: threading.Lock, stop: int) -> None:
    for arm in arms:
        _play_one(arm, wrap, listen, lock, stop)


def _play_one(arm: _Arm, wrap: Wrap, listen: Listen, lock: threading.Lock, stop: int) -> None:
    with lock:
        pasts = {key.name: Past(tuple(arm.ledger.entries(key))) for key in arm.keys}
    done = min(len(past.entries) for past in pasts.values())
    pasts = {name: Past(past.entries[:done]) for name, past in pasts.items()}
    if done > stop:
        return
    stages = []
    for key in arm.keys:
        arm.host.open(key, arm.scenario)
        line = Stages(arm.head.run, key, arm.host, arm.registry, arm.ledger, wrap=wrap, listen=listen, lock=lock)
        if done:
            line.restore(pasts[key.name].entries[-1])
        else:
            line.forget_uncommitted()
        stages.append(line)
    first, *twins = stages
    digests = (arm.head.scenario_digest, arm.head.source_digest)
    for _ in play_arm(arm.head.run, first, twins, pasts, range(done, stop + 1), arm.scenario.periods, digests):
        pass


@contextmanager
def _hosts(scenario: Scenario, at_once: int) -> Iterator[list[Host]]:
    hosts: list[Host] = [RemoteHost(scenario.threads) for _ in range(at_once)] if at_once else [LocalHost()]
    try:
        yield hosts
    finally:
        for host in hosts:
            host.close()
