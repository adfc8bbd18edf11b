"""Every file of the code that removes something is in the table of decision 14, with its tests; some of them."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from flows.runs.names import new_name
from simulator.production.defending import host

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "decisions" / "0014-what-is-removed.md"
#: calls that remove something for good
REMOVES = re.compile(
    r"\.unlink\(|rmtree|\.rmdir\(|os\.(remove|rmdir|removedirs)\(|client\.delete_\w+|\.delete_artifacts\(|os\.truncate\("
)


def rows() -> dict[str, list[str]]:
    """File -> the tests of its rows."""
    found: dict[str, list[str]] = {}
    for line in TABLE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].endswith(".py"):
            found.setdefault(cells[0], []).append(cells[3])
    return found


def test_every_file_that_removes_something_has_a_row() -> None:
    code = [path for folder in ("simulator", "flows", "defenses") for path in (ROOT / folder).rglob("*.py")]
    removing = {str(path.relative_to(ROOT)) for path in code if REMOVES.search(path.read_text("utf-8"))}
    assert removing
    assert removing - rows().keys() == set()


def test_every_row_names_a_file_and_a_test_that_are_there() -> None:
    for file, tests in rows().items():
        assert (ROOT / file).is_file()
        assert all((ROOT / test).is_file() for test in tests)


def test_notes_of_taken_names_go_and_what_a_person_put_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / ".names"
    folder.mkdir()
    (folder / "tiny-s0-20200101-000000").touch()
    (folder / "notes.txt").write_text("mine")
    (folder / "kept").mkdir()
    (folder / "link").symlink_to(folder / "notes.txt")
    old = time.time() - 3 * 86_400
    for path in folder.iterdir():
        os.utime(path, (old, old), follow_symlinks=False)
    name = new_name("tiny", 0, tmp_path)
    assert {path.name for path in folder.iterdir()} == {name, "notes.txt", "kept", "link"}


@pytest.mark.parametrize(("name", "stays"), [("ebbdoor-defense-x1", False), ("mine", True)])
def test_a_defenses_process_removes_its_own_temporary_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stays: bool
) -> None:
    (tmp_path / name / "deep").mkdir(parents=True)
    host._remove_scratch(tmp_path / name)
    assert (tmp_path / name).exists() is stays
