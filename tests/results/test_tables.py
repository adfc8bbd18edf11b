"""The two tables of a study, against hand-worked timelines, and read back by pandas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.errors import StoreError, StoreUnavailableError
from simulator.study.rows import period_rows, timeline_rows
from simulator.study.tables import read_table, write_tables
from simulator.study.timelines import PlayedTimeline

Build = Callable[..., PlayedTimeline]


def test_a_life_is_counted_in_updates_and_in_periods(played: Build) -> None:
    # planted at 0, kept in 2, below 0.5 from the version of period 3 on, below 0.1 never twice
    line = played([0.9, 0.8, 0.8, 0.3, 0.05, 0.2], actions={2: "kept"})
    row = timeline_rows([line])[0]
    assert (row["planted"], row["planted_period"], row["last_period"], row["updates"]) == (True, 0, 5, 4)
    assert (row["survival_updates_0.5"], row["survival_periods_0.5"], row["erased_0.5"]) == (2, 3, True)
    assert (row["survival_updates_0.1"], row["survival_periods_0.1"], row["erased_0.1"]) == (4, 5, False)
    assert (row["erased_period_0.5"], row["erased_period_0.1"], row["revived"]) == (3, None, 0)
    assert (row["state_0.5"], row["state_0.1"]) == ("erased", "alive")
    assert row["followed_updates"] == 4


def test_a_backdoor_that_comes_back_is_counted(played: Build) -> None:
    row = timeline_rows([played([0.9, 0.1, 0.1, 0.7, 0.2, 0.2, 0.6])])[0]
    assert (row["erased_period_0.5"], row["revived"], row["state_0.5"]) == (1, 2, "alive")


def test_clean_accuracy_counts_from_the_first_update_on(played: Build) -> None:
    line = played([0.9] * 5, clean=[0.1, 0.5, 0.7, 0.8, 0.9], actions={1: "kept"})
    row = timeline_rows([line])[0]
    assert row["mean_clean_accuracy"] == pytest.approx((0.7 + 0.8 + 0.9) / 3)
    assert (row["initial_clean_accuracy"], row["final_clean_accuracy"]) == (0.1, 0.9)


def test_without_an_update_there_is_no_area_and_no_zero(played: Build) -> None:
    row = timeline_rows([played([0.9, 0.9], actions={1: "kept"})])[0]
    assert row["mean_clean_accuracy"] is None
    assert json.loads(row["reasons"])["mean_clean_accuracy"] == "no update was promoted"


def test_alarms_are_told_of_the_arm_and_of_its_free_twin(played: Build) -> None:
    # drift begins in period 2: the arm rings in 1 (false) and 3 (one late), the free twin in 4 (two late)
    line = played([0.9] * 5, drift={2: 5.0, 3: 10.0, 4: 15.0}, alarms={"none": [1, 3], "free": [4]})
    row = timeline_rows([line])[0]
    assert (row["alarms"], row["alarm_delay"], row["false_alarms"], row["undrifted_periods"]) == (2, 1, 1, 1)
    assert (row["free_alarms"], row["free_alarm_delay"], row["free_false_alarms"]) == (1, 2, 0)


def test_all_readings_have_their_column_a_strangers_too(played: Build) -> None:
    line = played([0.9, 0.4], extra={0: {"backdoor/trigger_ed50": 0.25}, 1: {"stranger/shift": 3.0}})
    row = timeline_rows([line])[0]
    assert (row["initial_trigger_ed50"], row["final_trigger_ed50"]) == (0.25, None)
    assert row["final_stranger/shift"] == 3.0
    last = period_rows([line])[1]
    assert (last["stranger/shift"], last["net_attack_success"], last["trigger_ed50"]) == (3.0, 0.4, None)


def test_numbers_beside_the_records_are_columns_and_never_replace_what_was_measured(played: Build) -> None:
    beside = {"predicted_updates": 7.5, "planted": 3, "law": "eta S", "rate_sum": None, "reasons": {"rate_sum": "why"}}
    row = timeline_rows([played([0.9, 0.9], beside=beside)])[0]
    assert (row["predicted_updates"], row["planted"], row["seconds"]) == (7.5, True, 12.5)
    assert "law" not in row
    assert json.loads(row["reasons"])["rate_sum"] == "why"


def test_every_null_has_exactly_one_reason(played: Build) -> None:
    rows = timeline_rows(
        [
            played([0.9, 0.1, 0.1], beside={"predicted_updates": 1.0}),
            played([0.1, 0.1], seed=101, extra={1: {"backdoor/logit_margin": None}}),
            played([None, None], seed=102, alarms={"none": [], "free": []}, point={"stream.batch": None}),
        ]
    )
    assert all(row.keys() == rows[0].keys() for row in rows)
    for row in rows:
        reasons = json.loads(row["reasons"])
        assert reasons.keys() == {key for key, value in row.items() if value is None}
        assert all(isinstance(text, str) and text for text in reasons.values())
    never, unread = json.loads(rows[1]["reasons"]), json.loads(rows[2]["reasons"])
    assert never["survival_updates_0.5"] == "net attack success never reached the threshold"
    assert never["final_logit_margin"] == "not today"
    assert unread["planted"] == unread["survival_updates_0.1"] == "there is no paced twin to subtract"
    assert unread["alarm_delay"] == "there was no drift"
    assert unread["stream.batch"] == "the grid sets it to null"


def test_periods_come_line_by_line_with_the_true_drift(played: Build) -> None:
    lines = [played([0.9, 0.4], drift={1: 5.0}, point={"stream.batch": 500}), played([0.9], seed=101)]
    rows = period_rows(lines)
    assert [(row["seed"], row["control"], row["period"]) for row in rows] == [
        (100, "none", 0), (100, "none", 1), (100, "paced", 0), (100, "paced", 1), (101, "none", 0), (101, "paced", 0),
    ]  # fmt: skip
    assert [row["true_drift.rotation"] for row in rows] == [0, 5, 0, 5, 0, 0]
    assert [row["poison_rate"] for row in rows] == [0.05, 0, 0, 0, 0.05, 0]
    assert [row["stream.batch"] for row in rows] == [500] * 4 + [None] * 2
    assert rows[2]["net_attack_success"] is None


def test_both_files_hold_the_same_and_read_back_bit_for_bit(played: Build, tmp_path: Path) -> None:
    lines = [
        played([0.1 + 0.2, 1 / 3], point={"recipe.frozen": ["a", "b"], "rate": 0.1}, clean=[1e-17, 2 / 3]),
        played([None, None], seed=101, point={"recipe.frozen": [], "rate": "none"}, alarms={"none": [1]}),
        played([0.9, 0.05], seed=102, point={"recipe.frozen": None, "rate": 2}, actions={1: "rejected"}),
    ]
    paths = write_tables(tmp_path / "new", lines)
    assert list(paths) == ["timelines.csv", "timelines.parquet", "periods.csv", "periods.parquet"]
    for name, rows in (("timelines", timeline_rows(lines)), ("periods", period_rows(lines))):
        csv = pd.read_csv(paths[f"{name}.csv"], float_precision="round_trip", keep_default_na=False, na_values=[""])
        parquet = pd.read_parquet(paths[f"{name}.parquet"])
        assert list(csv.columns) == list(parquet.columns) == list(rows[0])
        assert len(csv) == len(rows)
        for column in csv:
            one, other = (frame[column].astype(object).where(frame[column].notna(), None) for frame in (csv, parquet))
            assert one.tolist() == other.tolist(), column
    values = pd.read_parquet(paths["timelines.parquet"])
    assert values["initial_net_attack_success"][0] == 0.1 + 0.2
    assert values["recipe.frozen"].tolist() == ['["a","b"]', "[]", None]
    assert values["rate"].tolist() == ["0.1", "none", "2"]
    assert values["seed"].dtype == np.int64


def test_tables_read_back_as_rows(played: Build, tmp_path: Path) -> None:
    lines = [played([0.9, 0.4]), played([0.9, 0.1], seed=101)]
    write_tables(tmp_path, lines)
    assert read_table(tmp_path, "timelines") == timeline_rows(lines)
    assert read_table(tmp_path, "periods") == period_rows(lines)


def test_the_same_timelines_give_the_same_bytes(played: Build, tmp_path: Path) -> None:
    line = [played([0.9, 0.4])]
    one, two = write_tables(tmp_path / "a", line), write_tables(tmp_path / "b", line)
    assert all(one[name].read_bytes() == two[name].read_bytes() for name in one)
    assert not list(tmp_path.glob("*/.*"))


def test_bad_input_is_told_in_a_sentence(played: Build, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected at least one played timeline, got none"):
        write_tables(tmp_path, [])
    with pytest.raises(StoreError, match=r"expected '.*timelines.parquet' to be a table of a study, got FileNotFound"):
        read_table(tmp_path, "timelines")
    (tmp_path / "timelines.parquet").write_text("no table")
    with pytest.raises(StoreError, match="to be a table of a study, got ArrowInvalid; play the study"):
        read_table(tmp_path, "timelines")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match=r"to be writable, got .*; free space or change the folder"):
        write_tables(tmp_path / "file", [played([0.9])])
