"""Folders that hold no run, or half of one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simulator.errors import StoreError, StoreUnavailableError
from simulator.observer.export import export_of, read_run, write_run
from simulator.production.registry.base import Entry


@pytest.fixture(scope="module")
def whole(fading: dict[str, list[Entry]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run's folder; copy it before spoiling it."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, {"name": "x"}, fading)
    return folder


def test_no_periods() -> None:
    with pytest.raises(StoreError, match="expected at least one committed period of an arm, got none"):
        export_of({}, {"main": []})


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"periods.jsonl' to be a file of a run, got FileNotFoundError"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("periods.jsonl", '{"arm": "ma', "periods.jsonl' to hold JSON, got"),
        ("periods.jsonl", "[1]", "to hold JSON objects, got list"),
        ("periods.jsonl", "", "periods.jsonl' to be as ebbdoor exported it, got one that was changed"),
        ("summary.json", "{}", "to hold a whole run"),
        ("scenario.yaml", "a: [", "scenario.yaml' to be as ebbdoor exported it, got one that was changed"),
        ("scenario.yaml", "just words", "to be as ebbdoor exported it, got one that was changed"),
    ],
)
def test_torn_files(whole: Path, tmp_path: Path, name: str, text: str, message: str) -> None:
    copy = shutil.copytree(whole, tmp_path / "copy")
    (copy / name).write_text(text)
    with pytest.raises(StoreError, match=message):
        read_run(copy)


def test_a_file_that_cannot_be_put_in_place_leaves_no_half(fading: dict[str, list[Entry]], tmp_path: Path) -> None:
    (tmp_path / "periods.jsonl").mkdir()
    with pytest.raises(StoreUnavailableError, match="periods"):
        write_run(tmp_path, {"name": "x"}, fading)
    assert [path.name for path in tmp_path.iterdir()] == ["periods.jsonl"]
