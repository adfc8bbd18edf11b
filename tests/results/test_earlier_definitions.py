"""Runs and studies that were written when an erasure was counted in versions: their lives are derived anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.observer.export import read_run
from simulator.observer.verdict import verdict
from simulator.study import tables
from simulator.study.compare import read_compared
from simulator.study.results import settings_of, settings_texts
from simulator.study.rows import timeline_rows
from simulator.study.timelines import PlayedTimeline

from .test_compare import write_export, write_study

Build = Callable[..., PlayedTimeline]
BEFORE = {
    "survival_updates": {"0.5": 1, "0.1": 1},
    "survival_periods": {"0.5": 4, "0.1": 4},
    "censored": True,
    "dormant": True,
}
NEWER = ("state", "erased", "revived_periods")


@pytest.fixture
def served_on(played: Build) -> PlayedTimeline:
    """One version at 9 % that serves to the end: of old it was alive at the end, after one update, and dormant."""
    memory = {"backdoor/relearned_net_attack_success": 0.51, "backdoor/relearned_unrelated_net_attack_success": 0.42}
    actions = dict.fromkeys((2, 3, 4), "kept")
    return played([0.9, 0.09, 0.09, 0.09, 0.09], actions=actions, extra={4: memory})


def test_an_earlier_run_is_read_by_todays_definition(served_on: PlayedTimeline, tmp_path: Path) -> None:
    folder = Path(write_export(tmp_path / "run", served_on))
    summary = json.loads((folder / "summary.json").read_text())
    part = summary["arms"]["main"]
    lives = {
        threshold: {"censored": True, "revived": 0, "planted": True, "planted_period": 0}
        for threshold in part["by_threshold"]
    }
    old = {key: value for key, value in part.items() if key not in NEWER} | BEFORE | {"by_threshold": lives}
    summary["arms"]["main"] = old
    (folder / "summary.json").write_text(json.dumps(summary))
    run = read_run(folder)
    assert verdict(run.summary).startswith("main: erased after 1 update: net ASR 9.0% at the end.")
    found = run.summary["arms"]["main"]
    assert (found["state"], found["erased"], found["survival_periods"]["0.5"]) == ("erased", True, 1)
    assert found["dormant"] is False
    assert settings_of(read_compared([folder])[0].rows)[0]["erased_at_end"] == 1


def test_an_earlier_study_is_compared_by_todays_definition(
    served_on: PlayedTimeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "timeline_rows", lambda played: [_as_before(row) for row in timeline_rows(played)])
    folder = Path(write_study(tmp_path / "study", [served_on]))
    monkeypatch.undo()
    assert "state_0.5" not in tables.read_table(folder, "timelines")[0]
    row = read_compared([folder])[0].rows[0]
    assert (row["state_0.5"], row["erased_0.5"], row["survival_periods_0.5"]) == ("erased", True, 1)
    assert row["dormant"] is False
    assert settings_texts(settings_of([row]))[0]["alive at the end"] == "0 of 1"


def _as_before(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the timelines table as it was written, with the figures of two versions."""
    past = {key: value for key, value in row.items() if not key.startswith(("state_", "erased_0"))}
    return past | {"censored_0.5": True, "censored_0.1": True, "survival_periods_0.5": 4, "dormant": True}
