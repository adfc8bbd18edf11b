"""The folder of a run: locked while the run lives, and removed by the next one where the run could not."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from simulator.cache.shared import run_cache
from simulator.cache.store import NO_CACHE

HOLDER = """
import sys
from simulator.cache.shared import run_cache
with run_cache(2) as cache:
    print(cache.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def next_run() -> None:
    with run_cache(2):
        pass


def test_a_living_runs_folder_stays_and_a_killed_ones_goes_with_the_next_run(place: Path) -> None:
    run = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    folder = Path(run.stdout.readline().strip())
    (folder / "training").mkdir()
    next_run()
    assert list(place.iterdir()) == [folder]
    run.kill()
    run.communicate()
    assert list(place.iterdir()) == [folder]
    next_run()
    assert list(place.iterdir()) == []


def test_where_no_folder_can_be_locked_nothing_is_shared_and_nothing_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, "as a folder of NFS answers")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_cache(2) as cache:
        assert cache is NO_CACHE
    assert list(place.iterdir()) == []


def test_a_folder_that_a_worker_made_anew_goes_too(place: Path) -> None:
    with run_cache(2) as cache:
        assert cache.folder is not None
    (cache.folder / "training" / "00").mkdir(parents=True)
    next_run()
    assert list(place.iterdir()) == []


def test_runs_of_one_process_leave_each_others(place: Path) -> None:
    with run_cache(2) as first, run_cache(2) as second:
        assert first.folder is not None
        assert second.folder is not None
        assert first.folder.is_dir()
        assert second.folder.is_dir()


def test_a_run_of_one_lineage_removes_nothing_and_makes_nothing(place: Path) -> None:
    left = place / ".ebbdoor-lines-abcd1234"
    left.mkdir()
    with run_cache(1):
        assert list(place.iterdir()) == [left]


def test_what_a_link_leads_to_and_what_is_no_such_folder_stays(
    place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "mine.txt").write_text("kept")
    (place / ".ebbdoor-lines-aaaaaaaa").symlink_to(outside)
    (place / ".ebbdoor-lines-bbbbbbbb").write_text("a file")
    (place / ".ebbdoor-lines-of-mine").mkdir()
    (place / "ebbdoor-lines-cccccccc").mkdir()
    left = place / ".ebbdoor-lines-dddddddd"
    left.mkdir()
    (left / "inside").symlink_to(outside)
    before = set(place.iterdir())
    next_run()
    assert set(place.iterdir()) == before - {left}
    assert (outside / "mine.txt").read_text() == "kept"


def test_another_users_folder_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = place / ".ebbdoor-lines-abcd1234"
    left.mkdir()
    other = os.geteuid() + 1
    with monkeypatch.context() as as_another:
        as_another.setattr(os, "geteuid", lambda: other)
        next_run()
    assert left.is_dir()
    next_run()
    assert not left.exists()
