"""What defenses will cost is told before training wherever a run or a study begins or goes on, and once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.execute import Order, execute
from flows.parameters import Execution
from flows.runs.folder import RunFolder, run_folder_of
from flows.simulate import simulate
from flows.studies.execute import StudyOrder, execute_study
from simulator.preflight import costs
from simulator.scenario.load import load_scenario
from simulator.study.load import study_of

#: seconds a call is said to take: 3 (forward and back) x (4 + 1) starts in two steps x 8 images x 10 digits
TOLD = "the defense 'neural-cleanse' takes up to 1,200 passes a call: about 20 minutes on this machine"
OVERRIDES = [
    "twins=[]",
    "arms={main: {}}",
    "defenses=[{use: neural-cleanse, steps: 2, rule: own-classes}]",
    "in_process=true",
]


@pytest.fixture(autouse=True)
def _a_pass_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "_seconds_a_pass", lambda arm, source: 1.0)


@pytest.fixture
def place(stocked: Path) -> RunFolder:
    return run_folder_of("mine", None, stocked)


def test_run_and_resume_tell_once(tiny: Path, place: RunFolder) -> None:
    scenario = load_scenario(str(tiny), OVERRIDES)
    heard: list[str] = []
    execute(Order(place, scenario, until=0, bare=True, processes=0), _silent, heard.append)
    assert [line for line in heard if TOLD in line] == heard[:1]
    heard.clear()
    execute(Order(place, bare=True, until=1, processes=0), _silent, heard.append)
    assert len([line for line in heard if TOLD in line]) == 1
    execute(Order(place, bare=True, processes=0), _silent, heard.append)
    heard.clear()
    execute(Order(place, bare=True, processes=0), _silent, heard.append)  # it is finished: nothing will be called
    assert not [line for line in heard if TOLD in line]


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_tells_in_its_log(tiny: Path, stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    log = SimpleNamespace(warning=lambda text, *given: heard.append(text), info=_deaf, error=_deaf)
    monkeypatch.setattr("flows.simulate.get_run_logger", lambda: log)
    defenses = [{"use": "neural-cleanse", "steps": 2, "rule": "own-classes"}]
    overrides = {"twins": [], "arms": {"main": {}}, "defenses": defenses, "in_process": True}
    simulate(scenario=str(tiny), overrides=overrides, run="told", until=0, execution=Execution(processes=0))
    assert len([line for line in heard if TOLD in line]) == 1


def test_a_study_tells_each_cost_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path))
    played: list[str] = []
    monkeypatch.setattr("simulator.study.run.play_study", lambda study, *given, **keys: played.append(study.name))
    scenario = {
        "source": {"use": "digits"},
        "defenses": [{"use": "neural-cleanse", "steps": 2, "rule": "own-classes"}],
        "arms": {"one": {}, "other": {"recipe.update.epochs": 1}},
    }
    study = study_of({"name": "told", "scenario": scenario, "seeds": [0, 1]})
    heard: list[str] = []
    execute_study(StudyOrder(study, "told", tmp_path / "told", bare=True), _deaf, heard.append)
    assert [TOLD in line for line in heard] == [True]
    assert played == ["told"]


def _deaf(*given: Any) -> None:
    pass


def _silent(scenario: Any) -> Any:
    from flows.displays.base import Silent

    return Silent()
