"""How often a period calls its stages: with Prefect each call is a task run, with a worker a message each way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simulator.loop.events import Stage
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.model import Scenario

from .conftest import COUNTED

ARM = {"ingest", "monitor", "decide", "train", "gate", "register", "probe", "commit"}


def test_a_stage_with_something_to_do_is_called_once_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    calls: Counter[tuple[str, int, str]] = Counter()

    def wrap(name: str, function: Stage) -> Stage:
        def call(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
            calls[control, period, name] += 1
            return function(arm, control, period, **arguments)

        return call

    scenario = Scenario.model_validate(COUNTED | {"periods": 2, "twins": ["paced"], "monitor": {"use": "none"}})
    registry, ledger = MemoryRegistry(), MemoryLedger()
    play(open_run(scenario, registry, ledger, "run"), scenario, registry, ledger, processes=0, wrap=wrap)
    # A paced twin replays its arm's decision and judgement: it asks neither policy nor gate.
    wanted = {("none", period, stage) for period in range(3) for stage in ARM}
    wanted |= {("paced", period, stage) for period in range(3) for stage in ARM - {"decide", "gate"}}
    milestones = {("none", 2, "probe"), ("paced", 2, "probe")}  # the last version is read by the costly probes too
    assert dict(calls) == {call: 2 if call in milestones else 1 for call in wanted}
