"""What a person does to `champion` in MLflow while one process plays: the next period adopts it, or asks."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.runs.folder import run_folder_of
from flows.runs.play import open_place, play_place
from simulator.errors import StoreError
from simulator.loop.events import Event, plain
from simulator.production.registry.open import open_stores
from simulator.records import PeriodRecord, ReplayChange
from simulator.scenario.load import load_scenario

from .conftest import MAIN, TINY, TWIN

NAME = "ebbdoor.live.main"
KEYS = ["periods=3", "recipe.replay.share=0.5"]


@pytest.fixture
def play(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int, Callable[[Any], None]], None]:
    """Play a new run of periods 0 to 3; after `stage` of a period of the arm a person does something in MLflow."""
    monkeypatch.chdir(tmp_path)
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    scenario = load_scenario(str(tmp_path / "tiny.yaml"), KEYS)
    place = run_folder_of("live", None, tmp_path / "runs")

    def played(kind: str, period: int, act: Callable[[Any], None]) -> None:
        from mlflow import MlflowClient

        def listen(event: Event) -> None:
            told = event.stage if event.kind == "stage-finished" else event.kind
            if (told, event.period, event.control) == (kind, period, "none"):
                uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
                act(MlflowClient(uri, registry_uri=uri))

        with open_place(place, scenario) as stores:
            play_place(place, stores, wrap=plain, listen=listen, processes=0)

    return played


def records(folder: Path, line: Any = MAIN) -> list[PeriodRecord]:
    _, ledger = open_stores(tracking_uri=None, workspace=folder / "runs")
    ledger.head("live")
    return [entry.record for entry in ledger.entries(line)]


@pytest.mark.parametrize(("kind", "left"), [("period-committed", 1), pytest.param("train", 2, marks=pytest.mark.slow)])
def test_a_champion_moved_while_a_process_plays_serves_in_its_next_period(
    play: Any, kind: str, left: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    period = 1 if kind == "period-committed" else 2  # before a period, and within one: then the next adopts it
    with caplog.at_level(logging.WARNING, "ebbdoor.stores"):
        play(kind, period, lambda client: client.set_registered_model_alias(NAME, "champion", "1"))
    assert f"arm main of run live: moved by hand in MLflow from version {left + 1} to 1; adopted" in caplog.text
    for line in (MAIN, TWIN):
        found = records(tmp_path, line)[left + 1]
        assert [(one.kind, one.period, one.to) for one in found.actions] == [("roll back", left, 0)]
        assert found.candidate_parent == 0
        assert found.replay == ReplayChange(left=list(range(1, left + 1)))  # the rows of the versions that were left


def test_another_alias_moved_while_a_process_plays_is_set_anew_and_said(
    play: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ebbdoor.stores"):
        play("period-committed", 2, lambda client: client.set_registered_model_alias(NAME, "previous", "1"))
    moved = [line for line in caplog.messages if "moved by hand" in line]
    assert [line.partition(";")[0] for line in moved] == [
        "run live: the alias 'previous' of 'main' was moved by hand from version 2 to version 1"
    ]


@pytest.mark.slow
def test_a_run_with_a_move_is_the_one_that_a_fresh_process_would_have_played(play: Any, tmp_path: Path) -> None:
    play("period-committed", 1, lambda client: client.set_registered_model_alias(NAME, "champion", "1"))
    alone = [record.digest() for record in records(tmp_path)]

    scenario = load_scenario(str(tmp_path / "tiny.yaml"), KEYS)
    place = run_folder_of("live", None, tmp_path / "apart")
    for until in (1, 3):
        with open_place(place, scenario) as stores:
            play_place(place, stores, wrap=plain, listen=lambda _: None, until=until, processes=0)
            if until == 1:
                from mlflow import MlflowClient

                uri = f"sqlite:///{tmp_path / 'apart' / 'mlflow.db'}"
                MlflowClient(uri, registry_uri=uri).set_registered_model_alias(NAME, "champion", "1")
    _, ledger = open_stores(tracking_uri=None, workspace=tmp_path / "apart")
    ledger.head("live")
    assert [entry.sha256 for entry in ledger.entries(MAIN)] == alone


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda client: client.delete_model_version(NAME, "2"), "which serves, got it deleted; put it back with"),
        pytest.param(
            lambda client: client.delete_registered_model(NAME), "which serves, got it deleted; put it back with",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda client: client.delete_registered_model_alias(NAME, "champion"), "which serves, got no such alias",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda client: client.set_registered_model_alias("ebbdoor.live.main.twin", "champion", "1"),
            "a twin follows its arm", marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_what_is_no_roll_back_is_asked_about_at_the_next_period(play: Any, act: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=said) as raised:
        play("period-committed", 1, act)
    assert "`ebbdoor reconcile --restore live`" in str(raised.value)
    assert len(records(tmp_path)) == 2  # what was committed is kept, and nothing more was


@pytest.mark.slow
def test_an_alias_deleted_within_a_period_is_not_put_back_silently(play: Any) -> None:
    with pytest.raises(StoreError, match="got no such alias"):
        play("train", 1, lambda client: client.delete_registered_model_alias(NAME, "champion"))


@pytest.mark.slow
def test_a_model_renamed_between_two_periods_goes_on(play: Any, tmp_path: Path) -> None:
    play("period-committed", 1, lambda client: client.rename_registered_model(NAME, "production"))
    assert len(records(tmp_path)) == 4
