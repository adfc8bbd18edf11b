"""The scenario that `ebbdoor init` writes: it can be played, and what its comments say of the other keys is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from simulator.preflight.scenario import check_scenario
from simulator.scenario.load import load_scenario
from simulator.scenario.model import Scenario


@pytest.fixture
def written(workspace: Path) -> Path:
    with pytest.raises(SystemExit) as ended:
        main(["init", "my-first.yaml"])
    assert ended.value.code == 0
    return Path("my-first.yaml")


def test_it_is_a_scenario_that_can_be_played_and_is_named_after_its_file(written: Path) -> None:
    scenario = load_scenario(str(written))
    assert scenario.name == "my-first"
    check_scenario(scenario, data=True)


def test_every_key_that_is_commented_out_has_its_default(written: Path) -> None:
    text = re.sub(r"^( *)#(?=[a-z])", r"\1", written.read_text(), flags=re.MULTILINE)
    assert text.count("\n") > 60
    Path("whole.yaml").write_text(text)
    assert load_scenario("whole.yaml") == load_scenario(str(written))


def test_every_key_of_a_scenario_is_in_it(written: Path) -> None:
    text = written.read_text()
    missing = [key for key in _keys(Scenario().tree) if not re.search(rf"^ *#?{key}:|[{{ ]{key}:", text, re.MULTILINE)]
    assert missing == []


def _keys(tree: dict[str, Any]) -> list[str]:
    """The keys of the scenario and of its sections, but those of plug-ins and arms."""
    found = []
    for key, value in tree.items():
        found.append(key)
        if isinstance(value, dict) and key != "arms" and "use" not in value:
            found += _keys(value)
    return found


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("taken.yaml", "expected 'taken.yaml' to be new, got one that is there; give another name"),
        ("mine.txt", "expected a .yaml file, got 'mine.txt'; rename it"),
        ("no/mine.yaml", "expected 'no/mine.yaml' to lie in a folder, got none; make the folder first"),
    ],
)
def test_nothing_is_overwritten(workspace: Path, capsys: pytest.CaptureFixture[str], file: str, sentence: str) -> None:
    Path("taken.yaml").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["init", file])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
    assert Path("taken.yaml").read_text() == "mine"
    assert [path.name for path in Path().iterdir()] == ["taken.yaml"]
