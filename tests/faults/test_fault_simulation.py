"""A slice of the fault simulation, and that it can fail: an adapter with a fault of its own is found out."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def played(seeds: range) -> list[Any]:
    from simulated.sessions import simulate

    return [simulate(seed) for seed in seeds]


def test_every_schedule_ends_as_the_undisturbed_run() -> None:
    outcomes = played(range(30))
    assert {outcome.seed: outcome.wrong for outcome in outcomes if outcome.wrong} == {}
    counts: Counter[str] = sum((outcome.counts for outcome in outcomes), Counter())
    assert min(counts[name] for name in ("retried", "refused", "killed", "resumed")) > 5
    injected: Counter[str] = sum((outcome.injected for outcome in outcomes), Counter())
    from simulated.faults import KINDS

    assert set(injected) == set(KINDS)


def test_a_late_answer_does_not_publish_a_version_whose_files_were_removed() -> None:
    (outcome,) = played(range(170, 171))
    assert outcome.wrong == []


def test_a_model_whose_removal_was_begun_is_never_used_though_its_mark_arrives_late() -> None:
    (outcome,) = played(range(1689, 1690))
    assert outcome.wrong == []


def test_a_seed_replays_exactly() -> None:
    first, second = (played(range(8, 10)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert [entry[:2] for entry in one.trace] == [entry[:2] for entry in other.trace]
        assert (one.counts, one.injected, one.refusals) == (other.counts, other.injected, other.refusals)


def _no_refresh(patch: pytest.MonkeyPatch) -> None:
    from simulator.production.registry.mlflow.registry import MlflowRegistry

    patch.setattr(MlflowRegistry, "refresh", lambda self: None)


def _no_sync(patch: pytest.MonkeyPatch) -> None:
    from simulated.mlflow_in_memory import MlflowInMemory

    patch.setattr(MlflowInMemory, "sync", lambda self, address: None)


def _commit_before_the_file(patch: pytest.MonkeyPatch) -> None:
    from simulator.production.registry.mlflow.client import Store
    from simulator.production.registry.mlflow.tags import period_key

    honest = Store.write_text

    def hasty(self: Any, run_id: str, text: str, path: str) -> None:
        import json

        if path.startswith("periods/"):
            self.client.set_tag(run_id, period_key(int(path[8:12])), json.loads(text)["sha256"])
        honest(self, run_id, text, path)

    patch.setattr(Store, "write_text", hasty)


def _a_new_token_each_time(patch: pytest.MonkeyPatch) -> None:
    from simulator.production.registry.mlflow import lock as mlflow_lock
    from simulator.system.holder import Holder

    honest = mlflow_lock.acquire
    patch.setattr(
        mlflow_lock, "acquire", lambda store, run, holder, take_over: honest(store, run, Holder.current(), take_over)
    )


@pytest.mark.parametrize(
    "fault",
    # the first is met by few schedules: they take most of a minute
    [pytest.param(_no_refresh, marks=pytest.mark.slow), _no_sync, _commit_before_the_file, _a_new_token_each_time],
)
def test_a_faulty_adapter_is_found_out(fault: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        assert any(played(range(seed, seed + 1))[0].wrong for seed in range(200))


@pytest.mark.slow
def test_the_command_prints_its_table_and_how_to_replay() -> None:
    command = [sys.executable, str(HERE / "simulate.py"), "--schedules", "6", "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "6 schedules in" in done.stdout
    assert done.stdout.splitlines()[0].split()[:2] == ["fault", "injected"]
    replay = subprocess.run([*command[:2], "--seed", "3"], capture_output=True, text=True, check=True)
    assert replay.stdout.splitlines()[-1].startswith("seed 3, plan")
