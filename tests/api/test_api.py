"""`import ebbdoor`: a run and a study from Python, as a notebook would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ebbdoor
from simulator.observer.export import read_run
from simulator.study.tables import read_table

TINY: dict[str, Any] = {
    "name": "tiny",
    "periods": 2,
    "device": "cpu",
    "source": {"use": "digits"},
    "stream": {"base": 300, "batch": 100, "validation": 50, "test": 100},
    "trusted": {"images": 50, "from": "latest"},
    "attack": {"use": "patch", "target": 0, "size": 2},
    "campaign": {"use": "one-shot", "period": 1, "rate": 0.2},
    "recipe": {
        "network": {"use": "compact-cnn"},
        "base": {"epochs": 2, "batch": 32},
        "update": {"epochs": 1, "batch": 32},
    },
    "probes": [{"use": "attack-success"}],
    "monitor": {"use": "none"},
    "twins": ["paced"],
}
STUDY: dict[str, Any] = {
    "name": "two-rates",
    "scenario": {**TINY, "periods": 1, "twins": []},
    "grid": {"recipe.update.epochs": [1, 2]},
    "seeds": [0, 1],
    "claims": [
        {
            "id": "more",
            "sentence": "More epochs leave less attack success.",
            "endpoint": {"measure": "final_attack_success"},
            "one": {"setting": "main recipe.update.epochs=2"},
            "other": {"setting": "main recipe.update.epochs=1"},
            "direction": "less",
        }
    ],
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> ebbdoor.Run:
    folder = tmp_path_factory.mktemp("api") / "run"
    return ebbdoor.run(TINY, set={"periods": 1}, seed=3, out=folder, processes=0, progress=False)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> ebbdoor.PlayedStudy:
    return ebbdoor.study(STUDY, out=tmp_path_factory.mktemp("api") / "study", workers=1, progress=False)


def test_a_run_is_played_and_read(played: ebbdoor.Run) -> None:
    assert (played.scenario["periods"], played.scenario["seed"], played.arms) == (1, 3, ("main",))
    table = played.readings()
    assert list(zip(table["control"], table["period"], strict=True)) == [
        ("none", 0), ("none", 1), ("paced", 0), ("paced", 1),
    ]  # fmt: skip
    rows = read_run(played.folder).rows
    assert table["clean_accuracy"].tolist() == [row["clean_accuracy"] for row in rows]
    assert played.verdict.startswith("main: ")
    assert played.report.read_text("utf-8").startswith("<!doctype html>")
    assert set(played.summary["arms"]) == {"main"}


def test_a_run_that_was_played_is_opened(played: ebbdoor.Run) -> None:
    assert ebbdoor.open_run(played.folder).summary == played.summary
    with pytest.raises(ebbdoor.EbbdoorError, match=r"expected the folder or name of a run, got 'nowhere'"):
        ebbdoor.open_run("nowhere")


def test_a_run_is_drawn(played: ebbdoor.Run, tmp_path: Path) -> None:
    played.plot().savefig(tmp_path / "run.svg")
    assert (tmp_path / "run.svg").stat().st_size > 10_000
    with pytest.raises(ebbdoor.EbbdoorError, match=r"expected arms of this run, got 'other'; it has main"):
        played.plot(["other"])


def test_mistakes_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ebbdoor.EbbdoorError, match="perods"):
        ebbdoor.run(TINY, set={"perods": 1}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_study_is_played_and_read(studied: ebbdoor.PlayedStudy) -> None:
    timelines = studied.timelines()
    assert timelines["seed"].tolist() == [0, 1, 0, 1]
    assert timelines["final_attack_success"].tolist() == [
        row["final_attack_success"] for row in read_table(studied.folder, "timelines")
    ]
    assert len(studied.periods()) == 2 * 2 * 2  # settings, seeds, periods
    assert studied.settings()["setting"].tolist() == [f"main recipe.update.epochs={epochs}" for epochs in (1, 2)]
    assert studied.verdicts()["id"].tolist() == ["more"]
    assert studied.study.name == "two-rates"
    assert ebbdoor.open_study(studied.folder).report.exists()


def test_what_is_no_study_is_refused() -> None:
    with pytest.raises(ebbdoor.EbbdoorError, match="expected the folder or name of a study, got 'nowhere'"):
        ebbdoor.open_study("nowhere")


def test_settings_are_compared(studied: ebbdoor.PlayedStudy, tmp_path: Path) -> None:
    one, other = studied.settings()["setting"]
    found = ebbdoor.compare(studied, one=one, other=other, measure="final_attack_success")
    values = {row["seed"]: row["final_attack_success"] for row in read_table(studied.folder, "timelines")[:2]}
    others = {row["seed"]: row["final_attack_success"] for row in read_table(studied.folder, "timelines")[2:]}
    assert found.finding is not None
    assert found.finding.estimate == pytest.approx(sum(values[seed] - others[seed] for seed in (0, 1)) / 2)
    assert dict(found.differences) == {"recipe.update.epochs": [1, 2]}
    assert "final_attack_success" in found.sentence
    found.plot().savefig(tmp_path / "both.svg")


def test_half_a_comparison_is_refused(studied: ebbdoor.PlayedStudy) -> None:
    with pytest.raises(ebbdoor.EbbdoorError, match="expected one and other to be two settings, or neither"):
        ebbdoor.compare(studied, one="main recipe.update.epochs=1")


def test_the_import_brings_nothing_heavy() -> None:
    code = (
        "import sys, ebbdoor; print(sorted({'torch', 'mlflow', 'prefect', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_its_names_are_those_it_lists() -> None:
    assert all(hasattr(ebbdoor, name) for name in ebbdoor.__all__)
