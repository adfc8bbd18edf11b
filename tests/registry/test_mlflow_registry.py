"""What a user of MLflow finds after some periods, read with MLflow's own client."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulator.production.lineage import LineageState
from simulator.production.registry.base import Registry, RunHead
from simulator.production.registry.open import open_stores
from simulator.production.training.networks import build_network
from simulator.production.training.weights import load_into
from simulator.records import Judgement, Outcome, Reading
from simulator.scenario.model import Use
from simulator.tensors import weights_digest, weights_of
from tests.registry.seen import (
    MAIN,
    NAME,
    TWIN,
    Payload,
    Record,
    Stores,
    after,
    aliases,
    history,
    models,
    play,
    runs,
    version,
)


def test_runs_are_one_parent_and_one_per_line(registry: Registry, client: Any, head: RunHead) -> None:
    registry.open(head)
    found = runs(client)
    assert sorted(found) == ["main", "main.twin", "r1"]
    parent, main, twin = found["r1"], found["main"], found["main.twin"]
    assert {run.data.tags["mlflow.parentRunId"] for run in (main, twin)} == {parent.info.run_id}
    assert (main.data.tags["arm"], main.data.tags["twin"], twin.data.tags["twin"]) == ("main", "false", "true")
    assert {parent.data.tags[key] for key in ("scenario", "seed")} == {"quick", "3"}
    assert main.data.params == {"recipe.update.epochs": "2"}


def test_no_run_is_made_by_any_later_call(registry: Registry, client: Any, payload: Payload, record: Record) -> None:
    import mlflow

    for period in range(3):
        play(registry, payload(period), record(period))
    registry.finish("finished", {})
    assert len(runs(client)) == 3
    assert mlflow.active_run() is None


def test_metrics_have_the_period_as_step(registry: Registry, client: Any, payload: Payload, record: Record) -> None:
    for period in range(3):
        beside = {"timing": {"train": 1.5}, "device_memory_bytes": 2**20}
        play(registry, payload(period), record(period), beside=beside)
    run = runs(client)["main"]
    assert history(client, run, "backdoor/net_attack_success") == pytest.approx({0: 0.9, 1: 0.7, 2: 0.5})
    assert history(client, run, "drift/true_rotation") == {0: 0.0, 1: 4.0, 2: 8.0}
    assert history(client, run, "cost/train_seconds") == {0: 1.5, 1: 1.5, 2: 1.5}
    assert history(client, run, "cost/device_memory_bytes") == {0: 2**20, 1: 2**20, 2: 2**20}
    keys = {"drift/score": 0.25, "drift/threshold": 0.5, "drift/alarm": 0.0, "world/poison_rate": 0.05}
    keys |= {"gate/promoted": 1.0, "gate/retrained": 1.0, "gate/ordinal": 2.0, "clean/accuracy": 0.875}
    assert keys.items() <= run.data.metrics.items()


def test_the_kind_of_a_drift_is_a_metric_of_its_period(
    registry: Registry, client: Any, payload: Payload, record: Record
) -> None:
    for period, detail in enumerate([{}, {"kind": "covariate"}, {"kind": "of a stranger's own"}]):
        play(registry, payload(period), record(period, signal={"method": "mine", "detail": detail}))
    run = runs(client)["main"]
    assert history(client, run, "drift/kind_covariate") == {1: 1.0}
    assert sum(key.startswith("drift/kind_") for key in run.data.metrics) == 1


def test_undefined_readings_are_named_and_never_logged(
    registry: Registry, client: Any, payload: Payload, record: Record
) -> None:
    timing = {"train": math.nan, "probe": math.inf}
    play(registry, payload(0), record(0, signal={"method": "none"}), beside={"timing": timing})
    run = runs(client)["main"]
    assert not {"backdoor/trigger_ed50", "drift/score", "cost/train_seconds", "cost/probe_seconds"} & set(
        run.data.metrics
    )
    assert all(math.isfinite(value) for value in run.data.metrics.values())
    assert run.data.tags["undefined.backdoor/trigger_ed50"] == "period 0: no opacity reaches 0.5"
    assert version(client, 0).tags["backdoor/trigger_ed50"] == "undefined: no opacity reaches 0.5"
    (model,) = models(client)
    assert "backdoor/trigger_ed50" not in {metric.key for metric in model.metrics}


def test_versions_carry_lineage_readings_and_outcomes(
    registry: Registry, client: Any, payload: Payload, record: Record
) -> None:
    flagged = Outcome(
        surface="inspector", name="neural-cleanse", status="flagged", reason="index 3.1", evidence={"index": 3.1}
    )
    play(registry, payload(0), record(0))
    play(registry, payload(1), record(1, outcomes=[flagged, flagged]))
    tags = version(client, 1).tags
    assert (tags["parent_ordinal"], tags["period"], tags["arm"], tags["twin"], tags["seed"]) == (
        "0",
        "1",
        "main",
        "false",
        "3",
    )
    assert tags["weights"] == weights_digest(payload(1).weights)
    assert tags["backdoor/net_attack_success"] == "0.7"
    assert tags["gate"] == "promoted: no gate"
    assert tags["outcome.inspector.neural-cleanse"] == "flagged: index 3.1 (period 1)"
    assert tags["outcome.inspector.neural-cleanse.2"] == "flagged: index 3.1 (period 1)"
    assert version(client, 0).tags["parent_ordinal"] == "none"
    (model,) = models(client, "tags.ordinal = '1'")
    evidence = Path(model.artifact_location.removeprefix("file://")) / "outcomes" / "period-0001.json"
    assert json.loads(evidence.read_text())[0]["evidence"] == {"index": 3.1}
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": "2"}]


def test_long_reasons_are_cut_in_tags(registry: Registry, client: Any, payload: Payload, record: Record) -> None:
    outcome = Outcome(surface="filter", name="my.module:Filter", status="failed", reason="x" * 9000)
    play(registry, payload(0), record(0, outcomes=[outcome]))
    text = version(client, 0).tags["outcome.filter.my.module_Filter"]
    assert len(text) == 1000
    assert text.endswith("… (cut)")


def test_aliases_follow_promotion_rejection_keeping_and_roll_back(
    registry: Registry, client: Any, payload: Payload, record: Record
) -> None:
    play(registry, payload(0), record(0))
    assert aliases(client) == {"champion": "0"}
    play(registry, payload(1), record(1))
    assert aliases(client) == {"champion": "1", "previous": "0"}
    rejected = Judgement(action="rejected", why="worse by 6 points", serving=1)
    again = {"backdoor/net_attack_success": Reading.of(0.25)}
    play(registry, payload(2), record(2, version=1, candidate=2, judgement=rejected, candidate_readings=again))
    assert aliases(client) == {"champion": "1", "previous": "0", "candidate": "2"}
    assert version(client, 2).tags["gate"] == "rejected: worse by 6 points"
    assert version(client, 2).tags["backdoor/net_attack_success"] == "0.25"
    kept = Judgement(action="kept", why="no alarm", serving=1)
    registry.publish(record(3, version=1, candidate=None, judgement=kept), {}, LineageState((0, 1, 1, 1)))
    assert aliases(client) == {"champion": "1", "previous": "0"}
    back = Judgement(action="rolled back", why="champion flagged", serving=0)
    flagged = Outcome(surface="inspector", name="nc", status="flagged", reason="r", subject="champion")
    registry.publish(
        record(4, version=0, candidate=None, judgement=back, outcomes=[flagged]), {}, LineageState((0, 1, 1, 1, 0))
    )
    assert aliases(client) == {"champion": "0", "previous": "1"}
    assert version(client, 1).tags["outcome.inspector.nc.champion"] == "flagged: r (period 4)"


def test_search_finds_versions_by_their_reading_at_promotion(
    registry: Registry, client: Any, payload: Payload, record: Record
) -> None:
    high = {"backdoor/net_attack_success": Reading.of(0.95)}
    play(registry, payload(0), record(0, readings={"backdoor/net_attack_success": Reading.of(0.1)}))
    kept = Judgement(action="kept", why="no alarm", serving=0)
    registry.publish(record(1, version=0, candidate=None, judgement=kept, readings=high), {}, LineageState((0, 0)))
    play(registry, payload(1, period=2), record(2, version=1, readings=high))
    found = models(client, "metrics.`backdoor/net_attack_success` > 0.5")
    assert [model.tags["ordinal"] for model in found] == ["1"]
    (old,) = models(client, "metrics.`serving/backdoor/net_attack_success` > 0.9")
    assert old.tags["ordinal"] == "0"
    assert history(client, runs(client)["main"], "backdoor/net_attack_success") == {0: 0.1, 1: 0.95, 2: 0.95}


def test_a_loaded_champion_gives_the_networks_logits_and_can_be_trained(
    registry: Registry, client: Any, payload: Payload, record: Record, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    for period in range(2):
        play(registry, payload(period), record(period))
    network = build_network(Use(use="standard-cnn"), channels=1, size=(8, 8), classes=3, seed=99)
    load_into(network, payload(1).weights)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    images = pixels.astype(np.float32) / np.float32(255)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(images)).numpy()

    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    np.testing.assert_array_equal(model.predict(images), expected)
    served = model.unwrap_python_model()
    np.testing.assert_allclose(served.predict(None, pixels), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(pixels), expected, atol=1e-6)
    with pytest.raises(mlflow.exceptions.MlflowException, match="expected images of float32 to be fractions"):
        model.predict(pixels.astype(np.float32))

    before = weights_digest(weights_of(served.network))
    served.network.train()(torch.from_numpy(images)).sum().backward()
    torch.optim.SGD(served.network.parameters(), lr=0.1).step()
    assert weights_digest(weights_of(served.network)) != before
    folder = client.get_logged_model(version(client, 1).tags["model_id"]).artifact_location.removeprefix("file://")
    assert not [name for _, _, names in os.walk(folder) for name in names if name.endswith((".pkl", ".pt", ".pth"))]


def test_weights_come_back_bit_for_bit_in_another_process_of_the_registry(
    registry: Registry, workspace: Path, head: RunHead, payload: Payload, record: Record
) -> None:
    play(registry, payload(0), record(0))
    other = open_stores(tracking_uri=None, workspace=workspace)[0]
    other.open(head)
    assert weights_digest(other.weights(MAIN, 0)) == weights_digest(payload(0).weights)


def test_everything_twice_is_as_once(
    registry: Registry, client: Any, payload: Payload, record: Record, workspace: Path, head: RunHead
) -> None:
    first = registry.register(payload(0))
    assert registry.register(payload(0)) == first
    registry.publish(record(0), {"timing": {"train": 1.0}}, LineageState((0,), 0))
    seen = runs(client)["main"].data.metrics, version(client, 0).tags, models(client)[0].metrics
    registry.publish(record(0), {"timing": {"train": 9.0}}, LineageState((0,), 0))
    fresh = open_stores(tracking_uri=None, workspace=workspace)[0]
    fresh.open(head)
    assert fresh.register(payload(0)) == first
    fresh.publish(record(0), {"timing": {"train": 5.0}}, LineageState((0,), 0))
    run = runs(client)["main"]
    assert (run.data.metrics, version(client, 0).tags) == seen[:2]
    assert sorted(metric.key for metric in models(client)[0].metrics) == sorted(metric.key for metric in seen[2])
    for key in run.data.metrics:
        assert len(history(client, run, key)) == 1
    assert len(models(client)) == len(client.search_model_versions(f"name = '{NAME}'")) == 1


def test_a_killed_period_that_is_played_otherwise_shows_what_was_committed(
    stores: Stores, workspace: Path, head: RunHead, client: Any, payload: Payload, record: Record
) -> None:
    stores[0].open(head)
    play(stores[0], payload(0), record(0))
    play(stores[0], payload(1), record(1), beside={"timing": {"train": 1.5}})
    again, _ = open_stores(tracking_uri=None, workspace=workspace)  # killed before the commit; then asked to do more
    again.open(head)
    again.forget_after(MAIN, 0, after(record(0)))
    readings = {"clean/accuracy": Reading.of(0.75), "backdoor/net_attack_success": Reading.of(0.7)}
    signal = {"method": "mmd", "score": 0.125, "threshold": 0.5}
    for _ in range(2):
        play(again, payload(1), record(1, readings=readings, signal=signal), beside={"timing": {"train": 9.0}})
    run = runs(client)["main"]
    shown = {key: run.data.metrics[key] for key in ("clean/accuracy", "drift/score", "cost/train_seconds")}
    assert shown == {"clean/accuracy": 0.75, "drift/score": 0.125, "cost/train_seconds": 1.5}
    assert history(client, run, "backdoor/net_attack_success") == pytest.approx({0: 0.9, 1: 0.7})
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "drift/score")]
    assert sorted(steps) == [0, 1, 1]


def test_other_weights_replace_a_version(registry: Registry, client: Any, payload: Payload, record: Record) -> None:
    registry.register(payload(0, seed=1))
    play(registry, payload(0), record(0))
    assert len(models(client)) == 1
    assert version(client, 0).tags["weights"] == weights_digest(payload(0).weights)


def test_lines_are_apart(registry: Registry, client: Any, payload: Payload, record: Record) -> None:
    play(registry, payload(0), record(0))
    play(registry, payload(0, line=TWIN, seed=7), record(0, line=TWIN))
    assert version(client, 0, f"{NAME}.twin").tags["twin"] == "true"
    registry.forget_after(TWIN, -1, LineageState())
    assert [model.tags["line"] for model in models(client)] == ["main"]


@pytest.mark.parametrize(
    ("word", "status"),
    [("finished", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED"), ("open", "SCHEDULED")],
)
def test_finish_closes_all_runs_and_keeps_the_files(
    registry: Registry, client: Any, tmp_path: Path, word: str, status: str, payload: Payload
) -> None:
    report = tmp_path / "made.html"
    report.write_text("<p>ebbed</p>")
    registry.finish(word, {"report.html": str(report)})
    found = runs(client)
    assert {run.info.status for run in found.values()} == {status}
    assert {run.data.tags["status"] for run in found.values()} == {word}
    (item,) = client.list_artifacts(found["r1"].info.run_id)
    assert item.path == "report.html"
    registry.register(payload(0))
    assert {run.info.status for run in runs(client).values()} == {"RUNNING"}


def test_links_say_where_to_look(registry: Registry, workspace: Path) -> None:
    assert registry.links()["MLflow store"] == f"sqlite:///{workspace / 'mlflow.db'}"


def test_what_is_undefined_now_is_not_shown_as_current(
    registry: Registry, client: Any, payload: Payload, record: Record
) -> None:
    lost = {"backdoor/net_attack_success": Reading.undefined("no image of class 7"), "clean/accuracy": Reading.of(0.5)}
    collapsed = {"backdoor/collapsed": Reading.of(1), "backdoor/trigger_ed50": Reading.of(0.25)}
    first, second = record(0), record(1, readings={**lost, **collapsed})
    play(registry, payload(0), first)
    registry.register(payload(1))
    registry.publish(second, {}, LineageState.of([first, second]))
    registry.publish(second, {}, LineageState.of([first, second]))  # as after a kill
    run = runs(client)["main"]
    net = history(client, run, "backdoor/net_attack_success")
    assert (net[0], math.isnan(net[1]), run.data.metrics["clean/accuracy"]) == (pytest.approx(0.9), True, 0.5)
    assert math.isnan(run.data.metrics["backdoor/net_attack_success"])
    assert run.data.tags["undefined.backdoor/net_attack_success"] == "period 1: no image of class 7"
    assert run.data.tags["undefined.backdoor/trigger_ed50"] == "period 1: not since this period"
    why = "the model predicts one class for nearly everything"
    assert (run.data.tags["no_verdict"], version(client, 1).tags["no_verdict"]) == (f"period 1: {why}", why)
    assert all(math.isfinite(metric.value) for model in models(client) for metric in model.metrics)
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    for query in ("> -1", "< 2"):  # NaN is no number that a search finds
        assert client.search_runs([experiment], f"metrics.`backdoor/net_attack_success` {query}") == []
