"""What each deletion in MLflow may remove, and what it must not: what is committed, and what somebody else made."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead, VersionPayload
from simulator.production.registry.open import open_stores
from simulator.records import LineageEnd, LineageKey, PeriodRecord

MAIN = LineageKey(arm="main")
NAME = "ebbdoor.r1.main"


@pytest.fixture
def played(stores: Any, head: RunHead, payload: Callable[..., VersionPayload], record: Any) -> tuple[Registry, Ledger]:
    """Period 0 of the arm, committed."""
    registry, ledger = stores
    registry.open(head)
    ledger.open(head)
    registry.register(payload(0))
    first: PeriodRecord = record(0)
    registry.publish(first, {}, LineageState.of([first]))
    ledger.commit(Entry(first, first.digest()))
    return registry, ledger


@pytest.fixture
def others(played: Any, client: Any) -> Callable[[], dict[str, Any]]:
    """What colleagues keep in the same MLflow, some of it under our names; returns a function that looks for it."""
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    run = client.create_run(experiment, tags={"run": "r1"}, run_name="a colleague's").info.run_id
    client.create_registered_model("ebbdoor.r1.report", tags={"run": "r1"})
    client.create_registered_model("theirs", tags={"run": "r1"})
    number = client.create_model_version(NAME, "s3://elsewhere", tags={"run": "r1", "line": "main"}).version
    client.set_registered_model_alias(NAME, "mine", number)

    def look() -> dict[str, Any]:
        return {
            "run": client.get_run(run).info.lifecycle_stage,
            "models": {row.name for row in client.search_registered_models()} & {"ebbdoor.r1.report", "theirs"},
            "version": client.get_model_version(NAME, number).source,
            "alias": str(client.get_model_version_by_alias(NAME, "mine").version) == str(number),
        }

    assert look() == {
        "run": "active", "models": {"ebbdoor.r1.report", "theirs"}, "version": "s3://elsewhere", "alias": True,
    }  # fmt: skip
    return look


def test_finishing_and_going_on_leave_what_others_made(
    played: Any, others: Callable[[], Any], workspace: Path, head: RunHead, record: Any
) -> None:
    before = others()
    played[0].finish("open", {})
    registry, _ = open_stores(tracking_uri=None, workspace=workspace)
    registry.open(head)
    registry.forget_after(MAIN, 0, LineageState.of([record(0)]))
    registry.finish("open", {})
    assert others() == before


def test_deleting_a_run_leaves_what_others_made(played: Any, others: Callable[[], Any], client: Any) -> None:
    before = others()
    assert played[0].delete("r1") is True
    assert others() == before
    assert [row.source for row in client.search_model_versions(f"name = '{NAME}'")] == ["s3://elsewhere"]
    assert played[0].delete("r1") is False


def test_sweeping_refuses_what_is_committed(played: Any, client: Any) -> None:
    with pytest.raises(StoreError, match=r"expected nothing of run 'r1' to be committed, got .*`ebbdoor delete r1`"):
        played[0].sweep("r1")
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1


def test_what_is_left_without_its_run_is_told_and_was_not_asked_for(played: Any, client: Any) -> None:
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    for item in client.search_runs([experiment]):
        client.delete_tag(item.info.run_id, "scenario_digest")  # nobody's any more
    left = played[0].leftovers()["r1"]
    assert left.asked is False
    assert f"the registered model {NAME}" in left.words


def test_versions_of_periods_that_the_ledger_lost_are_kept(
    played: Any, payload: Callable[..., VersionPayload], client: Any
) -> None:
    registry, _ = played
    registry.register(payload(1))
    registry.register(payload(2))
    with pytest.raises(StoreError, match="the ledger has lost what it committed; nothing is removed"):
        registry.forget_after(MAIN, 0, LineageState((0,), 0))
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    query = "tags.line = 'main'"
    assert len(client.search_logged_models([experiment], query)) == 3


def test_a_version_of_another_period_is_not_replaced(played: Any, payload: Callable[..., VersionPayload]) -> None:
    with pytest.raises(StoreError, match="expected version 1 of 'main' to be new in period 5, got one of period 0"):
        played[0].register(payload(0, period=5, seed=9))


def test_an_mlflow_run_that_was_made_twice_goes_and_one_that_holds_something_stays(played: Any, client: Any) -> None:
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    ours = next(item for item in client.search_runs([experiment]) if item.info.run_name == "main")
    mark = {key: value for key, value in ours.data.tags.items() if not key.startswith("period.")}
    twice = client.create_run(experiment, tags=mark, run_name="main").info.run_id
    full = client.create_run(experiment, tags={**mark, "period.0000": "0" * 64}, run_name="main").info.run_id
    played[0].finish("open", {})
    assert client.get_run(twice).info.lifecycle_stage == "deleted"
    assert client.get_run(full).info.lifecycle_stage == "active"
    assert client.get_run(ours.info.run_id).info.lifecycle_stage == "active"


def test_a_run_in_which_only_a_divergence_is_committed_is_not_called_lost(
    played: Any, client: Any, workspace: Path, head: RunHead
) -> None:
    twin = LineageKey(arm="main", control="paced")
    played[1].end(LineageEnd(run="r1", arm="main", control="paced", period=0, why="not finite"))
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    (run_id,) = [
        item.info.run_id for item in client.search_runs([experiment]) if item.data.tags.get("line") == twin.name
    ]
    client.delete_run(run_id)
    with pytest.raises(StoreError, match=f"got a deleted one; .* mlflow runs restore --run-id {run_id}"):
        open_stores(tracking_uri=None, workspace=workspace)[1].head("r1")


@pytest.mark.parametrize("named", ["documents", "{id}/artifacts"])
def test_a_store_that_somebody_wrote_has_no_folder_of_the_users_removed(
    played: Any, client: Any, workspace: Path, tmp_path_factory: pytest.TempPathFactory, named: str
) -> None:
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    (model,) = client.search_logged_models([experiment])
    mine = tmp_path_factory.mktemp("home") / named.format(id=model.model_id)
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    with sqlite3.connect(workspace / "mlflow.db") as db:
        db.execute("UPDATE logged_models SET artifact_location = ?", (mine.as_uri(),))
    db.close()
    with pytest.raises(StoreError, match="which the store names; nothing there is removed"):
        played[0].delete("r1")
    assert (mine / "thesis.txt").read_text() == "mine"
    assert client.search_logged_models([experiment])  # it was refused before anything was removed
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1


def test_a_link_out_of_the_workspace_is_not_followed(played: Any, client: Any, tmp_path: Path) -> None:
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    (model,) = client.search_logged_models([experiment])
    location = Path(urlsplit(model.artifact_location).path)
    mine = tmp_path / "home"
    shutil.copytree(location, mine / "artifacts")
    shutil.rmtree(location.parent)
    location.parent.symlink_to(mine)
    with pytest.raises(StoreError, match="nothing there is removed"):
        played[0].delete("r1")
    assert any((mine / "artifacts").iterdir())


def test_a_version_that_a_person_named_is_kept_though_it_was_never_committed(
    played: Any, client: Any, payload: Callable[..., VersionPayload], record: Any
) -> None:
    registry, _ = played
    registry.register(payload(1))
    registry.publish(record(1), {}, LineageState.of([record(0), record(1)]))
    client.set_registered_model_alias(NAME, "mine", "2")
    with pytest.raises(StoreError, match=r"expected version 2 of '.*', which was never committed, .* got 'mine'"):
        registry.forget_after(MAIN, 0, LineageState.of([record(0)]))
    assert str(client.get_model_version_by_alias(NAME, "mine").version) == "2"
    client.delete_registered_model_alias(NAME, "mine")
    registry.forget_after(MAIN, 0, LineageState.of([record(0)]))
    assert [row.version for row in client.search_model_versions(f"name = '{NAME}'")] == [1]


def test_a_lock_is_given_back_by_its_holder_only_and_no_model_of_a_like_name_goes(played: Any, client: Any) -> None:
    like = "ebbdoor.r1.writer-lock.abcdef01"  # MLflow's search takes an underscore for any character
    client.create_registered_model(like, tags={"run": "r1"})
    played[1].hold("r1")
    played[1].release()
    assert {row.name for row in client.search_registered_models()} == {NAME, "ebbdoor.r1.main.twin", like}
