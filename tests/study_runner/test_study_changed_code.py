"""A study never returns numbers of code or data that have changed, unless told to keep them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import ChangedCodeError
from simulator.study.executors.base import Executor
from simulator.study.run import changed_code_of, play_study
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
