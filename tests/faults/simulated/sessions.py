"""A tiny run over simulated stores: opened, played and finished by process after process, until it is done."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from safetensors.torch import save_file
from simulated.faults import Killed, Process, Wire, schedule
from simulated.mlflow_in_memory import MlflowInMemory
from simulated.snapshot import snapshot

from simulator.errors import EbbdoorError
from simulator.loop.actions import roll_back
from simulator.loop.run import open_run, play
from simulator.production.registry.base import VersionPayload
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.ledger import MlflowLedger
from simulator.production.registry.mlflow.registry import MlflowRegistry
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.mlflow.tags import WEIGHTS_FILE as WEIGHTS
from simulator.production.registry.retry import Retry, RetryingLedger, RetryingRegistry
from simulator.scenario.model import Scenario
from simulator.world.world import load_source

__all__ = ["PLANS", "Outcome", "simulate", "undisturbed"]

RUN = "run"
_MOST = 8  # disturbed processes; then nothing is disturbed any more, and the run must be completed
_TINY: dict[str, Any] = {
    "name": "tiny",
    "periods": 3,
    "device": "cpu",
    "source": {"use": "digits"},
    "stream": {"base": 80, "batch": 24, "validation": 30, "relearning": 10, "test": 100},
    "drift": [{"use": "rotation", "degrees": 5}],
    "attack": {"use": "patch", "target": 0, "size": 2},
    "campaign": {"use": "one-shot", "rate": 0.1},
    "monitor": {"use": "none"},
    "recipe": {
        "network": {"use": "simulated.small_network:small"},
        "base": {"epochs": 1, "batch": 40},
        "update": {"epochs": 1, "batch": 24},
    },
    "trusted": {"images": 20},
    "probes": [{"use": "attack-success"}],
}
_REHEARSED = {
    "gate": {"use": "scripted", "reject": [2]},
    "in_process": True,
    "defenses": [{"use": "scripted", "surface": "inspector", "script": {"1": "flag"}}],
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played, and to which version the arm is rolled back after period 1."""

    scenario: Scenario
    back_to: int | None = None


PLANS = {
    "gate": Plan(Scenario.model_validate({**_TINY, "gate": {"use": "accuracy"}})),
    "back": Plan(Scenario.model_validate({**_TINY, **_REHEARSED}), back_to=0),
}


@dataclass
class Outcome:
    """How a schedule ended; `wrong` is empty when it ended as it must."""

    seed: int
    plan: str
    wrong: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    trace: list[Any] = field(default_factory=list)


@cache
def undisturbed(plan: str) -> tuple[dict[str, Any], int]:
    """Return what the store holds after a run that nothing disturbs, and how many calls it took."""
    wire = Wire(MlflowInMemory())
    with _light():
        _session(wire, Process(wire), PLANS[plan])
    return snapshot(wire.store), wire.count


def simulate(seed: int) -> Outcome:
    """Play a seed's schedule to its end and compare the store with the undisturbed run's."""
    plan = sorted(PLANS)[seed % len(PLANS)]
    expected, calls = undisturbed(plan)
    wire = Wire(MlflowInMemory(), schedule(seed, int(calls * 1.3)), local=seed % 4 < 2)
    outcome = Outcome(seed, plan, injected=wire.injected, trace=wire.trace)
    with _light():
        _until_done(wire, plan, outcome)
    found = snapshot(wire.store, local=wire.local)
    outcome.wrong += [
        f"{key}: expected {expected.get(key)}, got {found.get(key)}"
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key) != found.get(key)
    ]
    outcome.counts["retried"] = wire.clock.sleeps
    return outcome


def _until_done(wire: Wire, plan: str, outcome: Outcome) -> None:
    """Start process after process, the last ones undisturbed, until one has ended well and nothing came after it."""
    for number in range(_MOST + 3):
        if number == _MOST:
            wire.calm()
        ended = _process(wire, PLANS[plan], outcome)
        arrived = wire.land(everything=True)
        if ended and not arrived:
            return
        outcome.counts["resumed"] += 1
    outcome.wrong.append("expected an undisturbed process to complete the run, got none that did")


def _process(wire: Wire, plan: Plan, outcome: Outcome) -> bool:
    process = Process(wire)
    try:
        _session(wire, process, plan)
        ended = True
    except Killed:
        outcome.counts["killed"] += 1
        ended = False
    except EbbdoorError as error:
        outcome.counts["refused"] += 1
        outcome.refusals.append(f"{type(error).__name__}: {error}")
        if not wire.faults:
            outcome.wrong.append(f"expected no refusal without a fault, got: {error}")
        ended = False
    if not ended:
        wire.end(process, land=(outcome.seed + wire.count) % 2 == 0)
    _bury(wire.store)
    return ended


def _session(wire: Wire, process: Process, plan: Plan) -> None:
    """What a process does, in the order of `flows.runs.play`."""
    store = Store("memory:", client=process, files=process)
    runs = Runs(store)
    runs.prepare()
    retry = Retry(sleep=wire.clock.sleep, clock=wire.clock.now)
    registry = RetryingRegistry(MlflowRegistry(store, runs), retry)
    ledger = RetryingLedger(MlflowLedger(store, runs), retry)
    ledger.hold(RUN)
    try:
        head = open_run(plan.scenario, registry, ledger, RUN)
        try:
            if plan.back_to is not None:
                play(head, plan.scenario, registry, ledger, processes=0, until=1)
                if not ledger.actions("main"):
                    roll_back(head, registry, ledger, "main", plan.back_to, "rehearsed")
            play(head, plan.scenario, registry, ledger, processes=0)
        except EbbdoorError:
            with suppress(EbbdoorError):
                registry.finish("failed", {})
            raise
        with TemporaryDirectory() as folder:
            report = Path(folder) / "report.html"
            report.write_text("<p>ebbed</p>")
            registry.finish("finished", {"report.html": str(report)})
    except BaseException:
        with suppress(EbbdoorError):
            ledger.release()
        raise
    ledger.release()


def _bury(store: MlflowInMemory) -> None:
    """The process that took a lock has ended: write a process into it that the system does not know."""
    for found in store.registered.values():
        if "pid" in found.tags:
            found.tags["pid"] = "0"


@contextmanager
def _light() -> Iterator[None]:
    """Load the digits once, write a version's weights without the rest of MLflow's model, and say nothing."""
    logger = logging.getLogger("ebbdoor.stores")
    level = logger.level
    logger.setLevel(logging.ERROR)
    source = cache(load_source)
    places = ("simulator.loop.run.load_source", "simulator.loop.executors.load_source")
    write = "simulator.production.registry.mlflow.versions.write_model"
    with patch(places[0], source), patch(places[1], source), patch(write, _write_model):
        yield
    logger.setLevel(level)


def _write_model(payload: VersionPayload, folder: Path, *, model_id: str, run_id: str) -> Path:
    path = folder / "model" / WEIGHTS
    path.parent.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in payload.weights.items()}, path)
    (folder / "model" / "architecture.json").write_text(json.dumps(dict(payload.architecture)))
    return folder / "model"
