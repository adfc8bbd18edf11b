"""What `ebbdoor delete` removes of a run's folder: what it wrote there, and nothing of another run's or a person's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.runs.folder import find_run_folder
from flows.runs.play import delete_place
from simulator.errors import StoreError


def test_what_a_person_put_into_the_folder_stays(kept: Any) -> None:
    place = find_run_folder("whole", kept.workspace)
    (place.folder / "notes.txt").write_text("mine")
    (place.folder / "figures").mkdir()
    delete_place(place)
    assert sorted(path.name for path in place.folder.iterdir()) == ["figures", "notes.txt"]
    assert find_run_folder("part", kept.workspace).folder.is_dir()
    assert kept.versions("part") == [0]
    assert not list((kept.workspace / "artifacts").rglob("*whole*"))


def test_an_empty_folder_goes_with_its_run(kept: Any) -> None:
    place = find_run_folder("part", kept.workspace)
    delete_place(place)
    assert not place.folder.exists()
    assert kept.versions("whole") == [0, 1]


def test_files_stay_where_the_store_does_not_know_the_run(kept: Any, tmp_path: Path) -> None:
    place = find_run_folder("part", kept.workspace)
    before = sorted(place.folder.iterdir())
    with pytest.raises(StoreError, match="part"):
        delete_place(replace(place, workspace=tmp_path / "another"))
    assert sorted(place.folder.iterdir()) == before
