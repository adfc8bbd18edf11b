"""Relative paths: of a file from its folder, of an override from the working directory, absolute in the scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.scenario.load import load_scenario
from simulator.scenario.overrides import resolved_arms
from simulator.scenario.paths import absolute
from simulator.study.load import load_study

GIVEN: dict[str, Any] = {
    "source": {"use": "npz", "path": "data/mine.npz"},
    "base": {"from": "../model.safetensors"},
    "stream": {"arrivals": {"folder": "incoming"}},
    "gate": {"use": "rules", "file": "rules.yaml"},
    "attack": {"use": "module:Mine", "image": "/pictures/sticker.png", "trigger": {"use": "other", "root": "x"}},
    "arms": {"own": {"gate.file": "own.yaml", "attack": {"use": "patch", "image": "~/own.png"}}, "as-is": {}},
}


def write(folder: Path, name: str, values: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(values))
    return folder / name


def test_paths_of_a_file_start_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine", "scenario.yaml", GIVEN)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    for name in ("mine/scenario.yaml", str(tmp_path / "mine" / "scenario.yaml")):
        found = load_scenario(name).tree
        here = str(tmp_path / "mine")
        assert found["source"]["path"] == f"{here}/data/mine.npz"
        assert found["base"]["from"] == f"{tmp_path}/model.safetensors"
        assert found["stream"]["arrivals"]["folder"] == f"{here}/incoming"
        assert found["gate"]["file"] == f"{here}/rules.yaml"
        assert found["attack"]["image"] == "/pictures/sticker.png"
        assert found["attack"]["trigger"]["root"] == f"{here}/x"
        assert found["arms"]["own"]["gate.file"] == f"{here}/own.yaml"
        assert found["arms"]["own"]["attack"]["image"] == "/home/somebody/own.png"
        assert found["trusted"]["from"] == "latest"
        arms = resolved_arms(load_scenario(name))
        assert [arms[arm].gate.options["file"] for arm in ("own", "as-is")] == [
            f"{here}/own.yaml",
            f"{here}/rules.yaml",
        ]


def test_paths_of_overrides_start_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "mine", "scenario.yaml", GIVEN)
    monkeypatch.chdir(tmp_path)
    given = ["source.path=other.npz", "gate={use: rules, file: here.yaml}", "base.from=b.safetensors", "trusted.from=2"]
    found = load_scenario(str(path), given).tree
    assert found["source"]["path"] == f"{tmp_path}/other.npz"
    assert found["gate"]["file"] == f"{tmp_path}/here.yaml"
    assert found["base"]["from"] == f"{tmp_path}/b.safetensors"
    assert found["trusted"]["from"] == 2


def test_paths_of_a_study_start_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = {
        "name": "mine",
        "scenario": {"source": GIVEN["source"]},
        "seeds": [0, 1],
        "grid": {"source.path": ["a", "b"]},
    }
    path = write(tmp_path / "mine", "study.yaml", study)
    monkeypatch.chdir(tmp_path)
    found = load_study(str(path))
    assert isinstance(found.scenario, dict)
    assert found.scenario["source"]["path"] == f"{tmp_path}/mine/data/mine.npz"
    assert list(found.grid["source.path"]) == [f"{tmp_path}/mine/{name}" for name in "ab"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("day-*.npz", "/f[[]o]/day-*.npz"),
        ("plain", "/f[o]/plain"),
        ("./a/../b.npz", "/f[o]/b.npz"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name/a"),
        ("", ""),
    ],
)
def test_what_is_a_pattern_an_address_or_nothing(text: str, expected: str) -> None:
    assert absolute({"files": text}, Path("/f[o]")) == {"files": expected}


def test_what_ships_with_ebbdoor_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "path" not in load_scenario("quickstart").tree["source"]
