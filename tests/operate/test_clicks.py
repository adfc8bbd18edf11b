"""Every click in MLflow's pages, then what ebbdoor does next: nothing that was committed or is not ours is lost."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.operate.reconcile import reconcile
from flows.operate.rollback import rollback
from flows.operate.status import run_status
from flows.operate.wording import Ask
from flows.runs.folder import find_run_folder, run_folder_of
from flows.runs.play import open_place, play_place
from simulator.errors import EbbdoorError
from simulator.loop.events import ignore, plain
from simulator.scenario.load import load_scenario

from .clicks import CLICKS, Place
from .conftest import TINY, Kept

#: refused, with the beginning of the way out; the others go on
ASKED = {
    "experiment renamed": "mlflow experiments rename --experiment-id",
    "experiment deleted": "mlflow experiments restore --experiment-id",
    "run deleted": "mlflow runs restore --run-id",
    "run of the arm deleted": "mlflow runs restore --run-id",
    "run of the twin deleted": "mlflow runs restore --run-id",
    "run's tag `run` deleted": "set its tag `run` to `live`",
    "run's tag `line` deleted": "set its tag `line` to `main`",
    "run's tag `head` deleted": "set its tag `head` to `head.json`",
    "run's tag `period.0001` deleted": "set its tag `period.0001` to `",
    "run's last tag `period.0002` deleted": "set its tag `period.0002` to `",
    "model deleted": "ebbdoor reconcile --restore live",
    "alias `champion` deleted": "ebbdoor reconcile --restore live",
    "serving version deleted": "ebbdoor reconcile --restore live",
    "version's tag `period` edited": "its tag was changed; nothing is removed: set it to `0` in MLflow",
    "version's tag `ordinal` edited": "its tag was changed; nothing is removed: set it to `0` in MLflow",
    "version's tag `model_id` edited": "its tag was changed; nothing is removed: set it to `m-",
    "version's tag `weights` edited": "its tag was changed; nothing is removed: set it to `",
    "logged model's tag `ordinal` edited": "its tag was changed; nothing is removed: set it to `0` in MLflow",
    "logged model's tag `ordinal` edited to the next": "its tag was changed; nothing is removed: set it to `0` in",
    "logged model's tag `period` edited": "its tag was changed; nothing is removed: set it to `0` in MLflow",
    "tag `ordinal` edited everywhere": "nothing is removed: set the tags in MLflow to what they were",
}
#: such a click takes rows away for good, which ebbdoor never does by itself
GONE = {"model deleted": {"1", "2", "3"}, "version deleted": {"1"}, "serving version deleted": {"3"}}
#: those of the normal suite, with what comes next
FAST = [
    ("experiment renamed", "reconcile"), ("run of the twin deleted", "resume"), ("run deleted", "reconcile"),
    ("run's last tag `period.0002` deleted", "resume"), ("model renamed", "resume one period"),
    ("alias `champion` moved to 1", "rollback"), ("version added", "resume one period"), ("version added", "reconcile"),
    ("serving version deleted", "resume"), ("logged model deleted", "resume one period"),
    ("version's tag `period` edited", "reconcile"), ("version's tag `model_id` edited", "resume one period"),
    ("version's tag `period` edited", "resume one period"), ("version's tag `weights` edited", "restore"),
    ("logged model's tag `ordinal` edited", "restore"), ("logged model's tag `ordinal` edited", "resume one period"),
    ("logged model's tag `line` edited", "resume one period"), ("tag `ordinal` edited everywhere", "resume one period"),
    ("version's tag `period` edited", "rollback"),
]  # fmt: skip
ALL = [
    (click, then) for click in CLICKS for then in ("resume", "resume one period", "reconcile", "restore", "rollback")
]


@dataclass(frozen=True)
class Held:
    """What is in MLflow's tables that nobody may lose: rows of models, runs, files; aliases and tags of others."""

    rows: frozenset[str]
    periods: frozenset[tuple[str, str]]
    foreign: frozenset[tuple[str, ...]]
    files: frozenset[str]


def held(workspace: Path) -> Held:
    with sqlite3.connect(workspace / "mlflow.db") as db:

        def ask(query: str) -> list[tuple[Any, ...]]:
            return db.execute(query).fetchall()

        mine = "SELECT run_uuid FROM tags WHERE key = 'mlflow.runName' AND value IN ('main', 'best so far')"
        models = "('ebbdoor.live.main', 'production')"
        found = Held(
            frozenset(
                str(version)
                for (version,) in ask(
                    f"SELECT version FROM model_versions WHERE current_stage != 'Deleted_Internal' AND name IN {models}"
                )
            ),
            frozenset(ask(f"SELECT key, value FROM tags WHERE key LIKE 'period.%' AND run_uuid IN ({mine})")),
            frozenset(
                [("alias", *map(str, one)) for one in ask("SELECT alias, version FROM registered_model_aliases "
                                                          "WHERE alias = 'mine'")]
                + [("tag", str(one)) for (one,) in ask("SELECT value FROM tags WHERE key = 'owner'")]
                + [("tag", str(one)) for (one,) in ask("SELECT value FROM model_version_tags WHERE key = 'owner'")]
            ),
            frozenset(str(path.relative_to(workspace)) for path in workspace.rglob("weights.safetensors")),
        )  # fmt: skip
    db.close()
    return found


@pytest.fixture(scope="module")
def live_template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of three committed periods of five, with a twin, as it is before anybody clicks."""
    folder = tmp_path_factory.mktemp("clicks")
    (folder / "tiny.yaml").write_text(TINY)
    scenario = load_scenario(str(folder / "tiny.yaml"), ["periods=4"])
    place = run_folder_of("live", None, folder / "runs")
    with open_place(place, scenario) as stores:
        play_place(place, stores, wrap=plain, listen=ignore, until=2, processes=0)
    import shutil

    shutil.copytree(folder / "runs", folder / "copy")
    return {"workspace": folder / "runs", "copy": folder / "copy"}


@pytest.fixture
def live(live_template: dict[str, Any], dead: Any, monkeypatch: pytest.MonkeyPatch) -> Kept:
    from .conftest import _restore

    workspace = live_template["workspace"]
    _restore(workspace, live_template["copy"])
    monkeypatch.chdir(workspace.parent)
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(workspace))
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    return Kept(workspace, dead)


def go_on(live: Kept, then: str) -> str:
    """Do what comes next, and return what was said: a refusal, or what `reconcile` tells."""
    try:
        if then in ("reconcile", "restore"):
            ask = Ask(restore="live" if then == "restore" else None)
            return "; ".join(f"{row.done}; {row.next}" for row in reconcile(live.workspace, ask, lambda _: None))
        place = find_run_folder("live", live.workspace)
        if then == "rollback":
            rollback(place, "main", 2, "as a person says")
        else:
            with open_place(place) as stores:
                until = 3 if then == "resume one period" else None
                play_place(place, stores, wrap=plain, listen=ignore, until=until, processes=0)
    except EbbdoorError as error:
        return str(error)
    return ""


def check(live: Kept, click: str, then: str) -> str:
    CLICKS[click](live.client, Place(live.client))
    before = held(live.workspace)
    said = go_on(live, then)
    after = held(live.workspace)
    assert after.rows >= before.rows
    assert after.periods >= before.periods
    assert after.foreign >= before.foreign
    assert after.files >= before.files
    assert before.rows | GONE.get(click, set()) >= {"1", "2", "3"}
    return said


@pytest.mark.parametrize(("click", "then"), FAST)
def test_nothing_is_lost_by_what_follows_a_click(live: Kept, click: str, then: str) -> None:
    said = check(live, click, then)
    if then != "rollback" or ASKED.get(click, "mlflow").startswith(("mlflow", "set")):
        assert ASKED.get(click, "") in said


@pytest.mark.slow
@pytest.mark.parametrize(("click", "then"), [case for case in ALL if case not in FAST])
def test_nothing_is_lost_by_anything_that_follows_any_click(live: Kept, click: str, then: str) -> None:
    test_nothing_is_lost_by_what_follows_a_click(live, click, then)


def test_a_champion_moved_by_hand_is_adopted_as_a_roll_back_and_said(
    live: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ebbdoor.stores"):
        check(live, "alias `champion` moved to 1", "resume one period")
    assert "moved by hand in MLflow from version 3 to 1" in caplog.text
    _, ledger = live.stores()
    ledger.head("live")
    (action,) = ledger.actions("main")
    assert (action.kind, action.period, action.to) == ("roll back", 2, 0)
    from simulator.records import LineageKey

    for control in ("none", "paced"):
        played = ledger.entries(LineageKey(arm="main", control=control))[3].record
        assert (played.actions, played.candidate_parent) == ([action], 0)


def test_other_aliases_moved_by_hand_are_said_by_status_and_when_they_are_set_anew(
    live: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    live.client.set_registered_model_alias("ebbdoor.live.main", "previous", "1")  # 2 served before 3, which serves
    live.client.set_registered_model_alias("ebbdoor.live.main", "challenger", "2")  # no version is in shadow
    moved = (
        "the alias 'previous' of 'main' was moved by hand from version 2 to version 1; it decides nothing",
        "the alias 'challenger' of 'main' was moved by hand from no version to version 2; it decides nothing",
    )
    (status,) = [row for row in run_status(live.workspace) if row["run"] == "live"]
    assert all(words in status["waits for"] for words in moved)
    with caplog.at_level(logging.WARNING, "ebbdoor.stores"):
        assert go_on(live, "resume one period") == ""
    assert all(caplog.text.count(words) == 1 for words in moved)
    assert "challenger" not in live.aliases("live")


def test_after_a_kill_a_champion_that_moved_is_asked_about(live: Kept) -> None:
    place = Place(live.client)
    for run_id in place.runs.values():
        live.client.set_tag(run_id, "status", "running")
    said = check(live, "alias `champion` moved to 1", "resume")
    assert "moved by hand or by the process that was killed" in said
    assert "`ebbdoor rollback live --arm main --to 1 --reason WHY`" in said


def test_what_was_taken_from_the_registry_is_entered_again_when_asked(live: Kept) -> None:
    check(live, "model deleted", "resume")
    (row,) = reconcile(live.workspace, Ask(restore="live"), lambda _: None)
    assert "put back: version 1 of 'main', which was deleted in MLflow" in row.done
    assert live.aliases("live") == {"champion": 2, "previous": 1}
    assert check(live, "alias added", "resume one period") == ""
