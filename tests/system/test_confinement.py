"""What confined forks may read is found once in the process they are forked from; what is to be hidden stays so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.production.defending.private_files import is_private
from simulator.system.confine import Confinement
from simulator.system.landlock import Ruleset, version
from simulator.system.readable import Readable

needs_landlock = pytest.mark.skipif(version() == 0, reason="this kernel offers no Landlock")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "deep" / "runs" / "secret").write_text("s3cret")
    (tmp_path / "deep" / "data").write_text("data")
    (tmp_path / ".env").write_text("s3cret")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def shown(folder: Path, *hidden: Path) -> set[str]:
    """What may be read with all below, of the paths in `folder`."""
    found = Readable.now([str(folder)], hidden, is_private).read_paths
    return {str(path.relative_to(folder)) for path in found if path.is_relative_to(folder)}


def test_a_hidden_path_is_hidden_at_any_depth(folder: Path) -> None:
    assert shown(folder) == {"mine.py", "deep"}
    assert shown(folder, folder / "deep") == {"mine.py"}
    assert shown(folder, folder / "deep" / "runs") == {"mine.py", "deep/data"}


def test_a_link_to_a_hidden_path_is_hidden_too(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "deep")
    assert shown(folder, folder / "deep") == {"mine.py"}
    assert shown(folder, folder / "deep" / "runs") == {"mine.py", "deep/data"}


def test_a_link_into_a_hidden_folder_shows_nothing(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "deep" / "runs" / "secret")
    assert shown(folder, folder / "deep" / "runs") == {"mine.py", "deep/data"}


@pytest.mark.parametrize("target", [".", "..", "link"])
def test_a_link_to_a_folder_above_or_to_itself_hides_nothing_else(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    (folder / "deep" / "up").symlink_to("..")
    found = shown(folder, folder / "deep" / "runs")
    assert {"mine.py", "deep/data"} <= found
    assert not {"deep", "deep/runs", "link", "deep/up"} & found


def test_a_folder_of_the_import_path_is_read_wherever_it_lies(folder: Path) -> None:
    """Plug-ins may lie in a folder that is hidden otherwise: they could not be imported."""
    home = folder / "deep" / "runs"
    assert shown(home, folder / "deep") == {"secret"}
    assert shown(home, folder / "deep", home / "secret") == set()


def read_in_a_fork(confinement: Confinement, path: Path, scratch: Path) -> bool:
    """Whether a confined fork can read `path`."""
    process = os.fork()
    if process == 0:
        try:
            confinement.confine(scratch)
            path.read_bytes()
            (scratch / "written").write_text("here it may write")
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


@needs_landlock
def test_the_ruleset_is_made_once_and_anew_when_something_else_is_there(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, made, make = tmp_path_factory.mktemp("scratch"), [], Ruleset.made
    monkeypatch.setattr(Ruleset, "made", lambda: made.append(1) or make())
    confinement = Confinement(is_private)
    for _ in range(3):
        confinement.make_ready(["mine"], [folder / "deep" / "runs"])
        assert read_in_a_fork(confinement, folder / "deep" / "data", scratch)
        assert not read_in_a_fork(confinement, folder / "deep" / "runs" / "secret", scratch)
        assert not read_in_a_fork(confinement, folder / ".env", scratch)
    assert len(made) == 1
    (folder / "deep" / "run.json").write_text("{}")  # it has become a run's folder
    confinement.make_ready(["mine"], [])
    assert len(made) == 2
    assert not read_in_a_fork(confinement, folder / "deep" / "data", scratch)
    (folder / "new.txt").write_text("written since")
    confinement.make_ready(["mine"], [])
    assert read_in_a_fork(confinement, folder / "new.txt", scratch)
    assert len(made) == 3
    confinement.close()


@needs_landlock
def test_a_ruleset_that_could_not_be_made_is_tried_for_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, tried = Ruleset.made, []
    monkeypatch.setattr(Ruleset, "made", lambda: make() if tried else tried.append(1))
    confinement = Confinement(is_private)
    confinement.make_ready(["mine"], [])
    assert confinement.descriptor == -1
    confinement.make_ready(["mine"], [])
    assert confinement.descriptor >= 0
    confinement.close()
