"""What the lines of one run share: trained once, read once, with the records of lines that share nothing."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simulator.cache.shared import run_cache
from simulator.cache.store import NO_CACHE, FolderCache
from simulator.loop.executors import LocalExecutor
from simulator.loop.period import play_arm
from simulator.loop.run import continue_run, open_run, play
from simulator.loop.stages import RunningLineage
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import LineageKey
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import arm_scenario

from .conftest import SMALL, digests, play_in_memory

#: a learning-rate schedule of a user's own that notes, across processes, each training that asks it for its first rate
NOTING = """
import json
from pathlib import Path

from simulator.production.training.schedules import Schedule


class Noting(Schedule):
    def __init__(self, *, rate: float = 0.05) -> None:
        self.rate = rate

    def rate_at(self, step: int, steps: int) -> float:
        if step == 0:
            with Path(__file__).with_name("trainings.jsonl").open("a") as file:
                file.write(json.dumps([self.rate, steps]) + "\\n")
        return self.rate
"""


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two arms that differ from the first update on, with their twins."""
    (tmp_path / "noting_schedule.py").write_text(NOTING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "noting_schedule", raising=False)
    noting = {"use": "noting_schedule:Noting"}
    recipe = {
        "base": {"epochs": 2, "batch": 32, "schedule": noting},
        "update": {"epochs": 1, "batch": 32, "schedule": noting},
    }
    other = {"recipe.update.schedule": {**noting, "rate": 0.1}}
    return SMALL | {"periods": 2, "recipe": recipe, "gate": {"use": "accuracy"}, "arms": {"slow": {}, "fast": other}}


def trainings(folder: Path) -> Counter[tuple[float, int]]:
    """How often each kind of training began since the last call: (rate, steps)."""
    file = folder / "trainings.jsonl"
    noted = Counter(tuple(json.loads(line)) for line in file.read_text().splitlines())
    file.unlink()
    return noted


@pytest.mark.parametrize("processes", [0, 2], ids=["in this process", "in two workers"])
def test_arms_train_the_base_that_they_share_once(keys: dict[str, Any], tmp_path: Path, processes: int) -> None:
    scenario = Scenario.model_validate(keys)
    alone = digests(play_in_memory(scenario))
    base, update = 2 * 10, 2  # steps: 300 rows in batches of 32, twice; 60 rows, once
    assert trainings(tmp_path) == {(0.05, base): 4, (0.05, update): 4, (0.1, update): 4}
    with run_cache(len(alone)) as cache:
        assert digests(play_in_memory(scenario, cache=cache, processes=processes)) == alone
    assert trainings(tmp_path) == {(0.05, base): 2, (0.05, update): 4, (0.1, update): 4}


def test_a_run_goes_on_without_what_was_shared_before(keys: dict[str, Any], tmp_path: Path) -> None:
    scenario = Scenario.model_validate(keys)
    whole = digests(play_in_memory(scenario))
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    with run_cache(4) as cache:
        play(head, scenario, registry, ledger, processes=0, until=0, cache=cache)
    trainings(tmp_path)
    with run_cache(4) as cache:
        head, again = continue_run(registry, ledger, "run")
        assert digests(play(head, again, registry, ledger, processes=0, cache=cache)) == whole
    assert trainings(tmp_path) == {(0.05, 2): 4, (0.1, 2): 4}  # no base: period 0 is committed


def test_an_arm_and_its_twin_share_what_comes_before_the_poison(tmp_path: Path) -> None:
    later = SMALL | {"periods": 2, "campaign": {"use": "one-shot", "period": 2, "rate": 0.1}}
    cache = FolderCache(tmp_path)
    play_in_memory(Scenario.model_validate(later), cache=cache)
    assert cache.counts["training"] == (2, 4)  # base and first update are the twin's too


def test_the_seconds_of_a_base_trained_and_read_ahead_are_its_periods_stage_by_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    recipe = {"base": {"epochs": 1, "schedule": {"use": "peculiar_plugins:SlowToBegin"}}}
    scenario = Scenario.model_validate(SMALL | {"recipe": recipe, "probes": [{"use": "peculiar_plugins:Slow"}]})
    registry, ledger, executor = MemoryRegistry(), MemoryLedger(), LocalExecutor(FolderCache(tmp_path))
    head = open_run(scenario, registry, ledger, "run")
    key = LineageKey(arm="main", control="paced")
    executor.open(key, arm_scenario(scenario, "main"))
    twin = RunningLineage("run", key, executor, registry, ledger)
    now = 0.0  # a clock that stands still but for what the plug-ins take

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    twin.ahead()
    assert now == 0.75
    list(play_arm(twin, [], range(1), 2, (head.scenario_digest, head.source_digest)))
    (done,) = ledger.entries(key)
    timing = done.metadata["timing"]
    assert now == 0.75  # the period recalls training and reading
    assert (timing["ingest"], timing["train"], timing["probe"]) == (0, 0.25, 0.5)
    assert digests({"twin": [done]})["twin"] == digests(play_in_memory(scenario))[key.name][:1]


def test_a_runs_folder_is_gone_with_it_and_one_line_shares_with_nobody() -> None:
    with run_cache(2) as cache:
        folder = cache.folder
        assert folder is not None
        assert folder.is_dir()
        assert not cache.lasting
    assert not folder.exists()
    with run_cache(1) as cache:
        assert cache is NO_CACHE


def test_where_no_folder_can_be_made_nothing_is_shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    with run_cache(2) as cache:
        assert cache is NO_CACHE
