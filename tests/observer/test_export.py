"""The run folder: exact keys, a reason for every null, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from simulator.observer.export import export_of, read_run, write_run
from simulator.production.registry.base import Entry

Lines = dict[str, list[Entry]]
SCENARIO = {"name": "hand-made", "seed": 3, "arms": {"steady": {}, "fading": {}}}
PROMISED = {
    "arm", "twin", "period", "version", "parent", "retrained", "promoted", "poison_rate", "true_drift", "drift_score",
    "drift_alarm", "clean_accuracy", "attack_success", "net_attack_success", "triggered_effect", "trigger_ed50",
    "logit_margin", "robust_accuracy", "relearned_net_attack_success", "collapsed", "outcomes", "timing", "reasons",
}  # fmt: skip


def test_one_line_per_arm_twin_and_period_with_the_promised_keys(fading: Lines, tmp_path: Path) -> None:
    files = write_run(tmp_path, SCENARIO, fading)
    rows = [json.loads(line) for line in files["periods.jsonl"].read_text().splitlines()]
    assert [(row["arm"], row["twin"], row["period"]) for row in rows] == [
        (arm, twin, period) for arm in ("steady", "fading") for twin in (False, True) for period in range(5)
    ]
    assert all(set(row) >= PROMISED for row in rows)


def test_every_null_has_its_reason_and_nothing_else_has(fading: Lines) -> None:
    for row in export_of(SCENARIO, fading).rows:
        assert set(row["reasons"]) == {key for key, value in row.items() if value is None}
        assert all(row["reasons"].values())


def test_values_of_a_line(fading: Lines) -> None:
    row = export_of(SCENARIO, fading).lineage("fading")[2]
    assert (row["version"], row["parent"], row["retrained"], row["promoted"]) == (2, 1, True, True)
    assert (row["true_drift"], row["drift_score"], row["drift_threshold"]) == ({"rotation": 10.0}, 0.4, 0.5)
    assert (row["net_attack_success"], row["collapsed"], row["timing"]) == (0.02, 0.0, {"train": 1.0})
    assert row["outcomes"][0]["name"] == "neural-cleanse"
    twin = export_of(SCENARIO, fading).lineage("fading", "paced")[2]
    assert twin["reasons"]["net_attack_success"].startswith("this line is a control itself")


def test_a_rejected_candidate_keeps_its_own_figures(entry: Callable[..., Entry]) -> None:
    kept = entry(1, version=0, candidate=1, action="rejected", clean=0.9)
    worse = kept.record.model_copy(update={"candidate_readings": entry(1, clean=0.2).record.readings})
    row = export_of(SCENARIO, {"main": [entry(0), Entry(worse, worse.digest())]}).lineage("main")[1]
    assert (row["retrained"], row["promoted"], row["version"], row["candidate"]) == (True, False, 0, 1)
    assert (row["clean_accuracy"], row["candidate_clean_accuracy"]) == (0.9, 0.2)


def test_round_trip(fading: Lines, tmp_path: Path) -> None:
    about = {"environment": {"torch": "2.15"}}
    write_run(tmp_path, SCENARIO, fading, about)
    assert read_run(tmp_path) == export_of(SCENARIO, fading, about)
    assert yaml.safe_load((tmp_path / "scenario.yaml").read_text()) == SCENARIO


def test_writing_again_replaces_and_leaves_nothing_behind(fading: Lines, tmp_path: Path) -> None:
    write_run(tmp_path, SCENARIO, {"steady": fading["steady"][:2]})
    write_run(tmp_path, SCENARIO, fading)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "periods.jsonl", "report.html", "scenario.yaml", "summary.json",
    ]  # fmt: skip
    assert len(read_run(tmp_path).lineage("steady")) == 5


def test_the_same_run_gives_the_same_files(fading: Lines, tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name, SCENARIO, fading) for name in ("one", "two"))
    assert {name: path.read_bytes() for name, path in first.items()} == {
        name: path.read_bytes() for name, path in second.items()
    }
