"""Timelines that the readings do not tell: counted and named with their reason, never taken for a value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.commands.compare import compare
from flows.commands.output import Format
from simulator.study.report.curves import nets_of
from simulator.study.results import settings_rows, settings_texts
from simulator.study.rows import period_rows, timeline_rows
from simulator.study.timelines import PlayedTimeline

from .test_compare import write_export, write_study

Build = Callable[..., PlayedTimeline]
WHY = "there is no paced twin to subtract"
GAP = f"period 1: {WHY}"
COLLAPSED = {"backdoor/collapsed": 1.0}
ONE_CLASS = "the model predicts one class for nearly everything"


def reasons_of(row: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = json.loads(row["reasons"])
    return found


def test_a_gap_leaves_survival_unknown_with_the_reason(played: Build) -> None:
    row = timeline_rows([played([0.9, None, 0.1, 0.1])])[0]
    assert (row["planted"], row["planted_period"], row["erased_0.5"], row["followed_updates"]) == (True, 0, True, 3)
    assert (row["survival_updates_0.5"], row["erased_period_0.5"], row["revived"], row["exposure"]) == (
        None,
        None,
        0,
        None,
    )
    why = reasons_of(row)
    assert {why[key] for key in ("survival_updates_0.5", "erased_period_0.5", "exposure")} == {GAP}


def test_a_first_reading_that_comes_late_is_not_the_planting(played: Build) -> None:
    row = timeline_rows([played([None, None, 0.48])])[0]
    gap = f"periods 0-1: {WHY}"
    assert (row["planted"], row["survival_updates_0.5"], row["survival_updates_0.1"]) == (None, None, None)
    assert {reasons_of(row)[key] for key in ("planted", "planted_period", "survival_updates_0.1")} == {gap}


def test_the_last_readings_of_a_collapsed_model_are_none(played: Build) -> None:
    row = timeline_rows([played([0.9, 0.9], extra={1: COLLAPSED})])[0]
    assert (row["final_net_attack_success"], row["final_attack_success"], row["initial_attack_success"]) == (
        None,
        None,
        0.92,
    )
    assert (row["final_clean_accuracy"], row["final_collapsed"]) == (0.8, 1.0)
    assert reasons_of(row)["final_net_attack_success"] == ONE_CLASS


def test_a_settings_unknown_timelines_are_counted_and_left_out(played: Build) -> None:
    lines = [[0.9, 0.9, 0.1, 0.1], [0.9, None, 0.1, 0.1], [None, 0.1, 0.1, 0.1]]
    row = settings_rows([played(nets, seed=seed) for seed, nets in enumerate(lines)])[0]
    assert [row[key] for key in ("n", "planted", "unknown", "erased")] == [3, 2, 2, 1]
    assert [row[f"{state}_at_end"] for state in ("alive", "erased", "censored", "unknown")] == [0, 2, 0, 1]
    assert row["restricted_mean"] == 2  # of the one that is known
    text = settings_texts([row])[0]
    assert (text["planted"], text["survival"], text["alive at the end"]) == (
        "2 of 3, 2 unknown",
        "2, 2 unknown",
        "0 of 2, 1 unknown",
    )
    alone = settings_texts(settings_rows([played([0.9, None, 0.1, 0.1])]))[0]
    assert (alone["planted"], alone["survival"], alone["mean survival"]) == ("1 of 1, 1 unknown", "unknown", "–")


def test_curves_leave_out_what_is_no_evidence(played: Build) -> None:
    curve = nets_of(period_rows([played([0.9, 0.8, 0.7], extra={1: COLLAPSED})]))["main"][100]
    assert curve == ((0, 0.9), (1, None), (2, 0.7))


def shown(capsys: pytest.CaptureFixture[str], *folders: str, **options: Any) -> str:
    compare(list(folders), **{"format_": Format.table, **options})
    return capsys.readouterr().out


def test_compare_says_what_is_unknown_and_why(
    played: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_export(tmp_path / "run", played([0.9, None, 0.1, 0.1]))
    text = shown(capsys, run)
    assert f"main, seed 100: survival is unknown: {GAP}" in text
    collapsed = write_export(tmp_path / "bad", played([0.9, 0.9], extra={0: COLLAPSED, 1: COLLAPSED}))
    assert f"main, seed 100: no verdict on the backdoor: {ONE_CLASS}" in shown(capsys, collapsed)


def test_two_pairs_have_no_standardised_effect_and_one_no_test(
    played: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keeps, forgets = [0.9, 0.9, 0.9, 0.9, 0.9], {1: [0.9, 0.1, 0.1, 0.1, 0.1], 2: [0.9, 0.9, 0.1, 0.1, 0.1]}
    lines = [played(keeps, arm="a", seed=seed) for seed in forgets]
    lines += [played(nets, arm="b", seed=seed) for seed, nets in forgets.items()]
    # min(survival, 4): 1 - 4 and 2 - 4
    text = shown(capsys, write_study(tmp_path / "s", lines), one="b", other="a")
    assert "-2.5" in text
    assert "not standardised: two differences: no unbiased standardised effect exists; run more seeds" in text
    assert "standardised -0" not in text
    single = write_study(tmp_path / "t", [line for line in lines if line.timeline.seed == 1])
    assert "not tested: one pair gives no p below 1" in shown(capsys, single, one="b", other="a")
