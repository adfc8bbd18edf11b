"""What a period asks of the stores and writes there: an MLflow of our own on SQLite."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulator.loop.run import open_run, play
from simulator.production.registry.open import open_stores
from simulator.scenario.model import Scenario

from .conftest import COUNTED

PERIODS = 6
WEIGHTS = 4 * (784 * 16 + 16 + 16 * 10 + 10)  # bytes: float32 of the counted network


@dataclass(slots=True)
class Asked:
    """Since the run began: SQL statements, calls of MLflow's client by name, and bytes of all files of artifacts."""

    statements: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    """What each period from 1 on asked for, once it was committed."""
    from mlflow import MlflowClient
    from sqlalchemy import Engine, event

    folder, now, totals = tmp_path_factory.mktemp("stores"), Asked(), []

    def note(*_: Any) -> None:
        now.statements += 1

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            now.calls[name] += 1
            return function(*arguments, **options)

        return call

    def listen(told: Any) -> None:
        if told.kind == "period-committed":
            now.bytes = sum(path.stat().st_size for path in (folder / "artifacts").rglob("*") if path.is_file())
            totals.append(copy.deepcopy(now))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parent)
        for name in [name for name in vars(MlflowClient) if not name.startswith("_")]:
            if callable(getattr(MlflowClient, name)):
                patch.setattr(MlflowClient, name, counted(name, getattr(MlflowClient, name)))
        scenario = Scenario.model_validate(COUNTED | {"periods": PERIODS, "monitor": {"use": "none"}})
        registry, ledger = open_stores(tracking_uri=None, workspace=folder)
        head = open_run(scenario, registry, ledger, "run")
        event.listen(Engine, "before_cursor_execute", note)
        try:
            play(head, scenario, registry, ledger, processes=0, listen=listen)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    return [
        Asked(after.statements - before.statements, after.calls - before.calls, after.bytes - before.bytes)
        for before, after in pairwise(totals)
    ]


def test_a_period_asks_mlflow_no_more_than_its_parts_need(asked: list[Asked]) -> None:
    needed = {
        # the version: made, its files stored, closed, named in the registry, told what it is
        "create_logged_model": 1,
        "log_model_artifacts": 1,
        "finalize_logged_model": 1,
        "create_model_version": 1,
        "set_logged_model_tags": 1,
        # who serves: whether a person moved `champion` since the last period, the aliases before, both set, and read
        # again before and after the period is written down
        "get_registered_model": 4,
        "set_registered_model_alias": 2,
        # all readings at once, and the decision's file
        "log_batch": 1,
        "log_artifact": 1,
        # the ledger: what is committed, the record, and the mark that makes it so
        "get_run": 1,
        "log_text": 1,
        "set_tag": 1,
    }
    for period in asked:
        assert period.calls["log_text"] == 1  # the calls are counted at all
        assert {name: count for name, count in period.calls.items() if count > needed.get(name, 0)} == {}


def test_a_call_costs_mlflow_ten_statements_at_most_and_no_more_with_every_period(asked: list[Asked]) -> None:
    assert max(period.statements for period in asked) <= 10 * 15
    # within a few, for MLflow asks again for what it has cached for some seconds
    assert asked[-1].statements <= asked[0].statements + 8


def test_a_version_is_written_once_and_the_rest_is_small(asked: list[Asked]) -> None:
    # Beside the weights: the record with its state, what MLflow says of a model, and the code that loads it anywhere, a
    # few thousand bytes each.
    assert max(period.bytes for period in asked) <= WEIGHTS + 12_000
    assert asked[-1].bytes - asked[0].bytes <= 44 * PERIODS  # the state grows so: see test_flat_in_time.py
