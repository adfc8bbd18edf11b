"""Registered models as an audit finds them, reads them and marks them, in a real MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import ScenarioError, StoreError
from simulator.production.auditing.finding import Finding
from simulator.production.auditing.subject import Place
from simulator.production.registry.base import Registry
from simulator.production.registry.mlflow.audits import audit_evidence, audit_file, audit_tags
from simulator.production.registry.mlflow.models import Models
from simulator.production.registry.open import open_models
from simulator.records import Asked, Judgement, Outcome, RequestKind
from tests.registry.seen import NAME, Payload, Record, play, version

FLAGGED = Outcome(
    surface="inspector", name="mine:Own", status="flagged", reason="score 3 beside a threshold of 2",
    cost={"samples": 12, "forward_passes": 2, "backward_passes": 0, "trusted_images": 4},
)  # fmt: skip


@pytest.fixture
def models(workspace: Path, stores: Any) -> Models:
    return open_models(tracking_uri=None, workspace=workspace)


@pytest.fixture
def three(registry: Registry, payload: Payload, record: Record) -> Registry:
    """Three versions, of which the second was rejected."""
    play(registry, payload(0), record(0))
    rejected = Judgement(action="rejected", why="worse", serving=0)
    play(registry, payload(1), record(1, version=0, candidate=1, candidate_parent=0, judgement=rejected))
    play(registry, payload(2), record(2, parent=0, candidate_parent=0))
    return registry


def test_all_versions_are_found_in_order_with_their_place(three: Registry, models: Models) -> None:
    found = models.find(f"models:/{NAME}")
    assert [one.uri for one in found.chosen] == [f"models:/{NAME}/{number}" for number in (1, 2, 3)]
    assert [one.place for one in found.versions] == [
        Place(0, None, 0, served=True), Place(1, 0, 1, served=False), Place(2, 1, 2, served=True),
    ]  # fmt: skip


def test_one_version_is_found_by_number_alias_and_id_with_those_before_it(
    three: Registry, models: Models, client: Any
) -> None:
    found = models.find(f"models:/{NAME}/2")
    assert [one.number for one in found.versions] == [1, 2]
    assert [one.number for one in found.chosen] == [2]
    model_id = version(client, 1).tags["model_id"]
    assert found.chosen[0].model_id == model_id
    assert models.find(f"models:/{model_id}") == found
    assert models.find(f"models:/{NAME}@champion").chosen[0].number == 3


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("models:/nobodys", "registered model with versions, got none"),
        (f"models:/{NAME}/9", "a version that is there, got none; there are 1, 2, 3"),
        (f"models:/{NAME}@best", "an alias of 'ebbdoor.r1.main', got none; its aliases are: champion"),
        ("models:/m-" + "0" * 32, "a logged model, got none"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(three: Registry, models: Models, uri: str, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        models.find(uri)


def test_somebodys_versions_stand_by_their_numbers(models: Models, client: Any, tmp_path: Path) -> None:
    client.create_registered_model("theirs")
    for name in ("a", "b"):
        client.create_model_version("theirs", f"file://{tmp_path / name}", tags={"audit.mine": "kept"})
    found = models.find("models:/theirs")
    assert [(one.address, one.place) for one in found.chosen] == [
        (f"file://{tmp_path / 'a'}", Place(0, None, 0)),
        (f"file://{tmp_path / 'b'}", Place(1, 0, 1)),
    ]
    assert models.files(found.chosen[0], pickles=True).refusal == "it has no MLmodel file"


def test_a_copied_version_is_read_where_it_lies(three: Registry, models: Models, client: Any, tmp_path: Path) -> None:
    """Of ebbdoor's, and of somebody's without a logged model: a version is often copied into another model to serve."""
    client.copy_model_version(f"models:/{NAME}/2", "in-production")
    (ours,) = models.find("models:/in-production").chosen
    assert ours.address == models.find(f"models:/{NAME}/2").chosen[0].address
    client.create_registered_model("theirs")
    client.create_model_version("theirs", f"file://{tmp_path / 'a'}")
    client.copy_model_version("models:/theirs/1", "their-copy")
    assert models.find("models:/their-copy/1").chosen[0].address == f"file://{tmp_path / 'a'}"


def test_a_finding_marked_twice_is_there_once_and_the_last_one_counts(
    three: Registry, models: Models, client: Any
) -> None:
    before = version(client, 1).tags
    stored = models.find(f"models:/{NAME}/2").chosen[0]
    passed = FLAGGED.model_copy(update={"status": "passed"})
    for outcome in (passed, FLAGGED):
        finding = Finding(outcome, 1.5, {"accuracy": 0.75})
        models.mark(stored, audit_tags(finding), audit_file(finding), audit_evidence(finding, {"seed": 0}))
    after = version(client, 1).tags
    assert {key: value for key, value in after.items() if key not in before} == {
        "audit.inspector.mine_Own": "flagged: score 3 beside a threshold of 2",
        "audit_cost.inspector.mine_Own": "1.5 s, 12 samples, 2 forward passes, 4 trusted images",
    }
    assert before.items() <= after.items()
    folder = Path(stored.address.removeprefix("file://")) / "audits"
    assert [path.name for path in folder.iterdir()] == ["inspector.mine_Own.json"]
    kept = json.loads((folder / "inspector.mine_Own.json").read_text())
    assert (kept["outcome"]["status"], kept["measured"], kept["seed"]) == ("flagged", {"accuracy": 0.75}, 0)


def test_what_a_defense_asks_for_is_told_with_what_it_found() -> None:
    kinds: list[RequestKind] = ["roll-back", "purge", "purge"]
    asked = FLAGGED.model_copy(update={"requests": [Asked(kind=kind, reason="lost", to=0) for kind in kinds]})
    assert Finding(asked, 0.0).said == (
        "score 3 beside a threshold of 2; asked for a roll-back and a purge, which an audit does not grant"
    )


def test_a_marked_version_is_no_edited_one(
    three: Registry, models: Models, stores: Any, payload: Payload, record: Record
) -> None:
    """The run goes on after an audit, and its versions load."""
    finding = Finding(FLAGGED, 1.5)
    for stored in models.find(f"models:/{NAME}").chosen:
        models.mark(stored, audit_tags(finding), audit_file(finding), {})
    play(three, payload(3), record(3, parent=2, candidate_parent=2))
    assert [one.number for one in models.find(f"models:/{NAME}").chosen] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "reason"), [("model.pt2", "stored as pt2"), ("model.pth", "stored whole, as a pickle")]
)
def test_the_format_of_somebodys_network_is_told_by_its_files(
    models: Models, client: Any, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "a" / "data").mkdir(parents=True)
    (tmp_path / "a" / "data" / name).touch()
    (tmp_path / "a" / "MLmodel").write_text("flavors: {pytorch: {model_data: data}}")
    client.create_registered_model("theirs")
    client.create_model_version("theirs", f"file://{tmp_path / 'a'}")
    assert reason in models.files(models.find("models:/theirs/1").chosen[0], pickles=False).refusal


def test_a_store_that_leads_to_another_server_is_not_followed(models: Models, client: Any) -> None:
    client.create_registered_model("led-astray")
    client.create_model_version("led-astray", "https://elsewhere.example/model")
    stored = models.find("models:/led-astray").chosen[0]
    with pytest.raises(StoreError, match="another server; nothing was sent to it"):
        models.files(stored, pickles=False)
