"""Running defenses: outcomes, the worker, its environment, determinism."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from simulator.batch import Batch
from simulator.observer.oracle import OracleFilter
from simulator.production.defending.driver import Defenders
from simulator.production.defending.environment import stripped
from simulator.production.defending.runner import Limits
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use
from simulator.tensors import ModelVersion, weights_digest, weights_of

ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [12, 12], "classes": 4}
Make = Callable[..., Defenders]


@pytest.fixture
def model() -> nn.Module:
    return build_network(Use(use="standard-cnn"), channels=1, size=(12, 12), classes=4, seed=0)


@pytest.fixture
def window() -> Batch:
    return _rows(40, 0)


@pytest.fixture
def trusted() -> Batch:
    return _rows(40, 1)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    made = []

    def defenders(*uses: Any, in_process: bool = True, seconds: float = 60.0) -> Defenders:
        named = tuple(Use.model_validate(use if isinstance(use, dict) else {"use": use}) for use in uses)
        device = torch.device("cpu")
        one = Defenders(
            named,
            architecture=ARCHITECTURE,
            device=device,
            limits=Limits(seconds),
            in_process=in_process,
            threads=1,
            seed=3,
        )
        made.append(one)
        return one

    yield defenders
    for one in made:
        one.close()


def _rows(count: int, seed: int) -> Batch:
    images = torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    return Batch(images, torch.arange(count) % 4, torch.arange(count) + 1000 * seed)


def _filter(defenders: Defenders, model: nn.Module, window: Batch, trusted: Batch, **more: Any) -> Any:
    version = ModelVersion(model)
    return defenders.filter(version, window, trusted, period=1, subject=more.pop("subject", "champion"), **more)


EVERY = (
    {"use": "activation-clustering", "rule": "both", "smallest": 4, "silhouette": -1.0},
    {"use": "scripted", "surface": "filter", "otherwise": "flag", "again": True},
    "defend_faults:DrawsGlobally",
    {"use": "fine-pruning", "epochs": 1},
    {"use": "scripted", "surface": "repair", "otherwise": "flag"},
    {"use": "neural-cleanse", "steps": 3},
    {"use": "scripted", "surface": "inspector", "script": {1: "flag"}},
    {"use": "strip", "overlays": 2, "false_positive_rate": 0.5},
    {"use": "scripted", "surface": "screen", "otherwise": "flag", "share": 0.5},
)


def _play(defenders: Defenders, model: nn.Module, window: Batch, trusted: Batch) -> list[Any]:
    """Run all four surfaces and return everything that came out, as values."""
    run = _filter(defenders, model, window, trusted)
    repaired, outcomes = defenders.repair(ModelVersion(model), trusted, period=1)
    judged = defenders.inspect(repaired, trusted, period=1, subject="candidate")
    screened = defenders.screen(repaired, window.images, trusted, period=1)
    told = [outcome.model_dump() for outcome in (*run.outcomes, *outcomes, *judged, *screened.outcomes)]
    return [told, run.keep.tolist(), run.again, repaired.digest, screened.flagged.tolist()]


def test_in_process_worker_and_repetition_agree(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    before = weights_digest(weights_of(model))
    here = _play(make(*EVERY), model, window, trusted)
    torch.manual_seed(99)
    worker = make(*EVERY, in_process=False)
    there = _play(worker, model, window, trusted)
    assert there == here
    assert _play(worker, model, window, trusted) == here
    told = here[0]
    assert [one["status"] for one in told] == [
        "changed", "changed", "changed", "changed", "changed", "passed", "flagged", "flagged", "flagged",
    ]  # fmt: skip
    assert [one["subject"] for one in told] == ["window"] * 3 + ["candidate"] * 4 + ["serving"] * 2
    assert weights_digest(weights_of(model)) == before


def test_global_draws_are_another_stream_than_the_contexts(
    make: Make, model: nn.Module, window: Batch, trusted: Batch
) -> None:
    drawn = _filter(make("defend_faults:DrawsTwice"), model, window, trusted).outcomes[0].evidence
    assert not set(drawn["own"]) & set(drawn["global"])
    assert drawn == _filter(make("defend_faults:DrawsTwice"), model, window, trusted).outcomes[0].evidence


def test_the_same_name_twice_is_told_apart(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    one = {"use": "scripted", "surface": "filter", "otherwise": "flag"}
    run = _filter(make(one, one), model, window, trusted)
    assert [outcome.name for outcome in run.outcomes] == ["scripted", "scripted-2"]
    assert run.outcomes[0].evidence["dropped"] == run.outcomes[1].evidence["dropped"] == 4
    assert int((~run.keep).sum()) > 4  # other rows: each has its own seed


def test_cost_counts_rows_and_passes_also_of_copies(
    make: Make, model: nn.Module, window: Batch, trusted: Batch
) -> None:
    run = _filter(make("defend_faults:Looks"), model, window, trusted)
    assert run.outcomes[0].cost == {
        "samples": 120, "forward_passes": 3, "backward_passes": 0, "trusted_images": 40,
    }  # fmt: skip


def test_a_second_look_is_asked_for_once(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    defenders = make("none", "defend_faults:Looks")
    assert not _filter(make("none"), model, window, trusted).again
    assert _filter(defenders, model, window, trusted).again
    second = _filter(defenders, model, window, trusted, subject="candidate")
    assert not second.again
    assert [outcome.evidence["features_of"] for outcome in second.outcomes] == ["candidate"] * 2


def test_nothing_is_remembered_between_calls(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    defenders = make("defend_faults:Remembers")
    for _ in range(2):
        assert _filter(defenders, model, window, trusted).outcomes[0].evidence["calls"] == 1


def test_a_class_keeps_rows_to_train_on(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    run = _filter(make("defend_faults:DropsClass"), model, window, trusted)
    assert (~run.keep).nonzero().flatten().tolist() == [1]
    assert run.outcomes[0].evidence["classes_not_emptied"] == [0]
    assert "except all of class 0" in run.outcomes[0].reason


def test_two_filters_together_do_not_empty_a_class(make: Make, model: nn.Module, trusted: Batch) -> None:
    roles = torch.zeros(8, dtype=torch.int8)
    roles[:4] = 1
    window = Batch(torch.zeros(8, 1, 12, 12), torch.tensor([0, 0, 1, 1, 0, 1, 2, 2]), torch.arange(8))
    late = OracleFilter(1 - roles.clamp(max=1))
    run = _filter(make(), model, window, trusted, extra={"early": OracleFilter(roles), "late": late})
    assert run.keep.tolist() == [False, False, False, False, True, True, True, True]
    assert run.outcomes[1].status == "failed"


def test_the_oracle_drops_poison_and_cover(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    roles = torch.zeros(40, dtype=torch.int8)
    roles[[1, 6]], roles[11] = 1, 2
    run = _filter(make("none", in_process=False), model, window, trusted, extra={"oracle": OracleFilter(roles)})
    assert (~run.keep).nonzero().flatten().tolist() == [1, 6, 11]
    assert [outcome.name for outcome in run.outcomes] == ["none", "oracle"]


def test_an_oracle_of_another_window_fails(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    run = _filter(make(), model, window, trusted, extra={"oracle": OracleFilter(torch.zeros(3))})
    assert run.outcomes[0].status == "failed"
    assert run.keep.all()


def test_without_defenses_nothing_is_started(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    defenders = make(in_process=False)
    kept, outcomes = defenders.repair(ModelVersion(model), trusted, period=0)
    assert kept.model is model
    assert outcomes == ()
    assert not any(defenders.has(surface) for surface in ("filter", "repair", "inspector", "screen"))
    assert defenders.seconds_by_name == {}


def test_seconds_are_beside_the_outcome(make: Make, model: nn.Module, window: Batch, trusted: Batch) -> None:
    defenders = make("none")
    run = _filter(defenders, model, window, trusted)
    assert defenders.seconds_by_name["none"] > 0
    assert "seconds" not in run.outcomes[0].model_dump_json()


def test_the_worker_has_no_credentials(
    make: Make, model: nn.Module, window: Batch, trusted: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_RUN_CONTEXT", "AWS_PROFILE", "MY_TOKEN", "PGPASSWORD", "PREFECT_API_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SHOP_URL", "postgresql://me:secret@localhost/shop")
    monkeypatch.setenv("HARMLESS", "yes")
    run = _filter(make("defend_faults:ShowsEnvironment", in_process=False), model, window, trusted)
    evidence = run.outcomes[0].evidence
    kept = set(evidence["names"])
    assert "HARMLESS" in kept
    assert not kept & {"MY_TOKEN", "PGPASSWORD", "SHOP_URL", "AWS_PROFILE"}
    assert not [name for name in kept if name.startswith(("MLFLOW_", "PREFECT_"))]
    assert evidence["threads"] == 1


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("PATH", "/bin", True),
        ("LANG", "C", True),
        ("KEYBOARD", "de", True),
        ("HTTPS_PROXY", "http://proxy:3128", True),
        ("HTTPS_PROXY", "http://me:word@proxy:3128", False),
        ("AZURE_STORAGE_CONNECTION_STRING", "x", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "x", False),
        ("DATABASE_URL", "x", False),
        ("SHOP_DB_URL", "x", False),
        ("hf_token", "x", False),
        ("SSH_AUTH_SOCK", "x", False),
        ("API_SECRET", "x", False),
        ("SECRET_VALUE", "x", False),
        ("GITHUB_PAT", "x", False),
        ("MYSQL_PWD", "x", False),
        ("X_TOKEN_FILE", "x", False),
        ("DOCKER_AUTH_CONFIG", "x", False),
        ("REGISTRY_AUTH_JSON", "x", False),
        ("PGPASSWORD_2", "x", False),
        ("API_KEYS", "x", False),
        ("KEY_ID", "x", False),
        ("SMTP_PASS", "x", False),
        ("SSH_ASKPASS", "x", False),
        ("KUBECONFIG", "x", False),
        ("PWD", "the folder", True),
        ("OLDPWD", "another folder", True),
        ("COMPATIBLE", "x", True),
        ("AUTHOR", "ann", True),
        ("COMPASS", "x", True),
        ("PATIENCE", "x", True),
        ("TOKENIZERS_PARALLELISM", "false", True),
        ("LD_LIBRARY_PATH", "/lib", True),
        ("CUDA_VISIBLE_DEVICES", "0", True),
        ("SSL_CERT_FILE", "x", True),
    ],
)
def test_what_is_stripped(name: str, value: str, kept: bool) -> None:
    assert (name in stripped({name: value}, threads=2)) is kept


def test_the_worker_finds_modules_where_we_do() -> None:
    found = stripped({}, threads=2)
    assert found["OMP_NUM_THREADS"] == "2"
    assert str(Path(os.__file__).parent) in found["PYTHONPATH"].split(os.pathsep)
