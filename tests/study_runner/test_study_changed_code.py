"""A study never returns numbers of code or data that have changed, unless told to keep them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from flows.commands.compare import compare
from flows.commands.output import Format
from flows.commands.study import study
from flows.displays.study import StudyMode
from simulator.errors import ChangedCodeError
from simulator.study.changed_column import changed_texts, with_changed_code
from simulator.study.executors.base import Executor
from simulator.study.run import changed_code_of, play_study
from simulator.study.tables import read_table
from simulator.study.timelines import PlayedTimeline
from tests.study_runner.conftest import TINY, MakeStudy

UserFile = Callable[[str, str], None]

NETWORK = """
from torch import nn
from user_act import Act

def net(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], 16), Act(), nn.Linear(16, classes))
"""
WORKS = "from torch import nn\nAct = nn.ReLU\n"
BROKEN = "from torch import nn\nclass Act(nn.Module):\n    def forward(self, x):\n        return x * 0\n"


def recipe(**keys: object) -> dict[str, object]:
    return {"recipe": TINY["scenario"]["recipe"] | {"network": {"use": "user_net:net"}}, "arms": {"main": {}}, **keys}


def accuracies(played: list[PlayedTimeline]) -> list[float | None]:
    entries = [entry for one in played for lines in one.entries.values() for entry in lines]
    return [entry.record.readings["clean/accuracy"].value for entry in entries]


def test_an_edited_helper_gives_new_numbers_from_the_cache_and_refuses_the_old_folder(
    tmp_path: Path, user_file: UserFile, tiny_study: MakeStudy, here: Executor
) -> None:
    user_file("user_act.py", WORKS)
    user_file("user_net.py", NETWORK)
    study = tiny_study(recipe(), seeds=[0])
    old = accuracies(play_study(study, tmp_path / "old", here, tmp_path / "cache"))
    user_file("user_act.py", BROKEN)
    new = accuracies(play_study(study, tmp_path / "new", here, tmp_path / "cache"))
    assert max(new) < 0.2 < max(old)
    assert new == accuracies(play_study(study, tmp_path / "without", here, None))
    with pytest.raises(ChangedCodeError, match=r"a change of user_act\.py since 1 of them; choose another folder"):
        play_study(study, tmp_path / "old", here, tmp_path / "cache")
    kept = play_study(study, tmp_path / "old", here, tmp_path / "cache", accept_changed_code=True)
    assert accuracies(kept) == old
    assert changed_code_of(tmp_path / "old") == {kept[0].timeline.name: ["user_act.py"]}
    user_file("user_act.py", WORKS)
    assert accuracies(play_study(study, tmp_path / "third", here, tmp_path / "cache")) == old


def test_edited_data_refuse_the_old_folder(tmp_path: Path, tiny_study: MakeStudy, here: Executor) -> None:
    def written(seed: int) -> None:
        random = np.random.default_rng(seed)
        images, labels = random.integers(0, 255, (600, 8, 8), dtype=np.uint8), np.arange(600) % 10
        np.savez(tmp_path / "data.npz", images=images, labels=labels)

    written(0)
    source = {"use": "npz", "path": str(tmp_path / "data.npz")}
    study = tiny_study({"source": source, "arms": {"main": {}}}, seeds=[0])
    play_study(study, tmp_path / "out", here, None)
    play_study(study, tmp_path / "out", here, None)
    written(1)
    with pytest.raises(ChangedCodeError, match=r"a change of the data of source npz since 1"):
        play_study(study, tmp_path / "out", here, None)
    (tmp_path / "data.npz").unlink()  # complete, and nothing to compare it with
    play_study(study, tmp_path / "out", here, None)


def test_accepted_changes_are_told_wherever_results_are(
    tmp_path: Path, user_file: UserFile, tiny_study: MakeStudy, here: Executor, capsys: pytest.CaptureFixture[str]
) -> None:
    user_file("user_act.py", WORKS)
    user_file("user_net.py", NETWORK)
    values, folder = tiny_study(recipe(periods=1), quick={"seeds": [0]}), tmp_path / "out"
    play_study(values, folder, here, None, quick=True)
    assert_untold(folder)
    user_file("user_act.py", WORKS + "# the same\n")
    play_study(values, folder, here, None, accept_changed_code=True)
    for name in ("timelines", "periods"):
        table = pd.read_csv(folder / f"{name}.csv")
        assert list(table)[-1] == "changed_code"
        assert {*zip(table["seed"], table["changed_code"], strict=True)} == {(0, '["user_act.py"]'), (1, "[]")}
        assert [row["changed_code"] for row in read_table(folder, name)] == table["changed_code"].tolist()
    page = (folder / "report.html").read_text("utf-8")
    assert "<tr><td>main</td><td>0</td><td>user_act.py</td></tr>" in page
    given = tmp_path / "tiny.yaml"
    given.write_text(yaml.safe_dump(values.model_dump(mode="json")))
    command = {"out": folder, "no_prefect": True, "display": StudyMode.none, "accept_changed_code": True}
    study(str(given), **command, document=tmp_path / "tiny.md")
    assert "| main | 0 | user_act.py |" in (tmp_path / "tiny.md").read_text("utf-8")
    said = "main, seed 0: code or data were changed, which was accepted: user_act.py"
    assert said in capsys.readouterr().err
    study(str(given), **command, format_=Format.json)
    assert json.loads(capsys.readouterr().out)["changed_code"] == [
        {"setting": "main", "seeds": "0", "changed": "user_act.py"}
    ]
    compare([str(folder)])
    assert said in capsys.readouterr().out


def assert_untold(folder: Path) -> None:
    """Where nothing was changed, nothing is said of it."""
    assert "changed_code" not in read_table(folder, "timelines")[0] | read_table(folder, "periods")[0]
    assert "that were changed" not in (folder / "report.html").read_text("utf-8")


def test_of_a_file_that_an_option_names_the_name_is_told_without_its_folder() -> None:
    rows = [
        {"timeline": "a", "setting": "main", "seed": 1},
        {"timeline": "b", "setting": "main", "seed": 0},
        {"timeline": "c", "setting": "other", "seed": 0},
    ]
    changed = {"a": ["file /there/trigger.png", "package scikit-learn"], "b": ["file /here/trigger.png"]}
    changed["b"] += ["package scikit-learn"]
    assert changed_texts(with_changed_code(rows, changed)) == [
        {"setting": "main", "seeds": "0, 1", "changed": "package scikit-learn, trigger.png"}
    ]
    assert with_changed_code(rows, {"elsewhere": ["file"]}) == rows
