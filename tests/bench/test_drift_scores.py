"""The measurement of drift scores, made small: on digits, with few draws; its tables against hand-worked numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.drift import __main__ as command
from benchmarks.drift import trials
from benchmarks.drift.champion import Champion, Sizes
from benchmarks.drift.tables import PAGE, correlation, share, tables
from benchmarks.results_page import Measured
from simulator.production.monitors.evidently import Evidently
from simulator.production.monitors.mmd import Mmd


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "KINDS", {name: trials.KINDS[name] for name in ("brightness", "hue")})
    monkeypatch.setattr(trials, "ON_FEATURES", {"mmd": Mmd(rows=50, permutations=19)})


def scored(magnitude: float, *scores: float | None) -> dict[str, Any]:
    common = {"part": "scores", "source": "digits", "kind": "noise", "monitor": "mmd", "alarms": 0, "kinds": {}}
    return {**common, "magnitude": magnitude, "scores": list(scores), "periods": len(scores)}


def test_the_correlation_is_of_the_size_and_the_mean_score() -> None:
    assert correlation([scored(0, 0.1, 0.3), scored(-0.1, 0.4), scored(-0.2, 0.5)]) == (1.0, 1.0, 1.0)
    # by hand: mean scores 0.2, 0.1, 0.3 have the ranks 2, 1, 3: 1 - 6 * (1 + 1 + 0) / (3 * 8)
    assert correlation([scored(0, 0.2), scored(1, 0.1), scored(2, 0.3)]) == pytest.approx((0.5, 0.5, 0.5))
    assert correlation([scored(0, 0.2), scored(1, None)]) is None
    assert correlation([scored(0, 0.2), scored(1, 0.2)]) is None


def test_a_share_has_its_exact_interval() -> None:
    # Clopper and Pearson: 0 of 10 has the upper bound 1 - 0.025 ** (1 / 10)
    assert share(0, 10) == f"0 of 10: 0.0 % (0.0 to {100 * (1 - 0.025**0.1):.1f})"


def test_features_computed_once_give_the_signal_of_the_images() -> None:
    random = torch.Generator().manual_seed(0)
    images, labels = torch.randint(256, (90, 1, 4, 4), generator=random).byte(), torch.arange(90) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    made = Champion(images, labels, model, 3, Sizes(0, 90, 30, 40))
    drift, magnitude = trials.KINDS["brightness"][0], 0.1
    shown = made.drifted(drift, magnitude, 0)
    first, second = made.draw(drift, magnitude, 5)
    assert len(set(first.tolist()) | set(second.tolist())) == 70
    for monitor in (Evidently(resamples=39), Mmd(permutations=39)):
        ours, theirs = (
            monitor.observe(made.view(side[first], side[second], 1)) for side in (made.features(shown), shown)
        )
        assert ours.alarm == theirs.alarm
        assert ours.score == pytest.approx(theirs.score, abs=1e-6)


def test_it_measures_writes_and_reads(few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--draws", "2", "--undrifted", "3", "--references", "2", "--per-reference", "3"]
    command.main(["--sources", "digits", *sizes, "--format", "json"])
    printed, told = capsys.readouterr()
    assert "1/1 digits, seed 0: brightness 0.2; 0 min left for it" in told
    kept = tmp_path / "digits.json"
    kept.write_text(printed, "utf-8")
    page = tmp_path / "drift.md"
    first, last = PAGE.markers
    page.write_text(f"before\n{first}\nold\n{last}\nafter\n", "utf-8")
    command.main(["--read", str(kept), "--write", str(page)])
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| digits | rotation of 0.01° | mmd | " in text
    assert "standard-cnn, seeds 0, 2 batches for each magnitude, 3 undrifted periods, 2 × 3 by reference" in text
    results = json.loads(printed)["results"]
    assert {one["kind"] for one in results if one["part"] == "scores"} == {"brightness"}  # digits have no hue


def test_hue_is_said_not_to_apply_to_one_channel() -> None:
    of_hue = {**scored(0, 0.1), "kind": "hue", "source": "cifar10"}
    text = tables([of_hue, {**of_hue, "magnitude": 9, "scores": [0.2]}, scored(0, 0.1), scored(1, 0.2)])
    assert "| hue | mmd | 1.00 (1.00 to 1.00) | does not apply: one channel |" in text


def test_what_cannot_be_measured_or_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--sources", "cifar10"])
    assert "expected --cifar10 FILE for the source cifar10, got none" in capsys.readouterr().err
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}", "utf-8")
    with pytest.raises(SystemExit, match=r"expected a file that --format json wrote, got .*wrong\.json"):
        command.main(["--read", str(wrong)])
    with pytest.raises(SystemExit, match="expected the page to hold"):
        PAGE.replaced("no markers", Measured([], []))


@pytest.mark.slow
def test_scores_grow_with_the_drift_on_digits_and_a_label_prior_is_named() -> None:
    made = command.champion("digits", {}, 0)
    kinds = ("brightness", "rotation", "label-prior")
    found = [one for name, measure in trials.trials(made, 20, 0, 0, 0) if name.startswith(kinds) for one in measure()]
    mine = [one for one in found if one["monitor"] == "evidently"]
    for kind in kinds:
        grown = correlation([one for one in mine if one["kind"] == kind])
        assert grown is not None
        assert grown[0] >= 0.9
    assert mine[-1]["kind"] == "label-prior"
    assert mine[-1]["kinds"].get("label-prior", 0) > 0
